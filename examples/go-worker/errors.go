package main

import (
	"fmt"
	"strings"

	"example.org/anyudf/go-worker/udf"
)

// A failure is what travels in an ExecutionError (R14): what went wrong, and whose fault it is.
type failure struct {
	blame     blame
	condition string // its stable name (C12); none for those of the test functions
	message   string
	traceback string
}

type blame int

const (
	blameUser   blame = iota // the function, or its data
	blameWorker              // ourselves
	blameEngine              // it broke a rule, or sent bytes that are not what they should be
)

func userError(condition, format string, values ...any) *failure {
	return &failure{blame: blameUser, condition: condition, message: fmt.Sprintf(format, values...)}
}

func workerError(condition, format string, values ...any) *failure {
	return &failure{blame: blameWorker, condition: condition, message: fmt.Sprintf(format, values...)}
}

func protocolError(condition, format string, values ...any) *failure {
	return &failure{blame: blameEngine, condition: condition, message: fmt.Sprintf(format, values...)}
}

// A rule of the order was broken. Such a failure is not waited on (C2).
func violation(format string, values ...any) *failure {
	return protocolError("PROTOCOL_VIOLATION", format, values...)
}

func (f *failure) Error() string {
	if f.condition == "" || f.blame == blameUser { // a user error has a field for it
		return f.message
	}
	return "[" + f.condition + "] " + f.message
}

// The failure as a message, in an engine's limit for one.
func (f *failure) onWire(limit int) *udf.ExecutionError {
	limit = min(64<<10, limit/8) // P7
	message := cut(f.Error(), limit)
	var traceback *string
	if f.traceback != "" {
		text := cut(f.traceback, limit)
		traceback = &text
	}
	switch f.blame {
	case blameUser:
		user := &udf.UserError{Message: message, Traceback: traceback}
		if f.condition != "" {
			user.ErrorClass = &f.condition
		}
		return &udf.ExecutionError{Kind: &udf.ExecutionError_User{User: user}}
	case blameWorker:
		worker := &udf.WorkerError{Message: message, Traceback: traceback}
		return &udf.ExecutionError{Kind: &udf.ExecutionError_Worker{Worker: worker}}
	default:
		return &udf.ExecutionError{Kind: &udf.ExecutionError_Protocol{Protocol: &udf.ProtocolError{Message: message}}}
	}
}

// At most so many bytes, which say so when they are not all (P7). What is no UTF-8 could not be sent.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	end := fmt.Sprintf(" … (cut, %d bytes in all)", len(text))
	return strings.ToValidUTF8(text[:max(0, limit-len(end))], "") + end
}
