package main

import (
	"strconv"
	"time"
)

// The functions that every test suite can rely on (S1-S6). They take bytes for what they are.
var testFunctions = map[string]Open{
	"echo":          openEcho,
	"echo/generate": withNumber(generate),
	"echo/sink":     always(sink),
	"echo/slow":     withNumber(slow),
	"echo/hang":     always(hang),
}

func always(run Function) Open {
	return func(*Request) (opened, error) { return opened{run: run}, nil }
}

// The payload is a decimal number.
func withNumber(run func(int64) Function) Open {
	return func(request *Request) (opened, error) {
		number, err := strconv.ParseInt(string(request.Payload), 10, 64)
		if err != nil || number < 0 {
			return opened{}, protocolError("INVALID_PAYLOAD", "the payload of this format is a decimal number")
		}
		return opened{run: run(number)}, nil
	}
}

// S1
func openEcho(request *Request) (opened, error) {
	if string(request.Payload) == "INIT_ERROR" {
		return opened{}, workerError("", "simulated init failure")
	}
	return opened{run: echo}, nil
}

func echo(in *Input, out Output) ([]byte, error) {
	return nil, in.Each(func(batch []byte) error {
		if string(batch) == "ERROR" { // S2
			return userError("SimulatedError", "simulated user-code error")
		}
		return out(batch)
	})
}

// S4: all its output comes before it looks at any input.
func generate(number int64) Function {
	return func(in *Input, out Output) ([]byte, error) {
		for i := range number {
			if err := out(strconv.AppendInt(nil, i, 10)); err != nil {
				return nil, err
			}
		}
		return nil, in.Each(refuse)
	}
}

// S5
func sink(in *Input, _ Output) ([]byte, error) {
	var batches int64
	err := in.Each(func([]byte) error {
		batches++
		return nil
	})
	return strconv.AppendInt(nil, batches, 10), err
}

// S6: it looks for cancellation only between batches.
func slow(milliseconds int64) Function {
	return func(in *Input, out Output) ([]byte, error) {
		return nil, in.Each(func(batch []byte) error {
			time.Sleep(time.Duration(milliseconds) * time.Millisecond)
			return out(batch)
		})
	}
}

// S6: it never looks.
func hang(in *Input, _ Output) ([]byte, error) {
	return nil, in.Each(func([]byte) error { select {} })
}
