package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"example.org/anyudf/go-worker/udf"
)

type stream = grpc.BidiStreamingServer[udf.UdfRequest, udf.UdfResponse]

// A session is one Execute stream. Three things go on in it at once, each on a goroutine of its own: listening, the
// function, and sending. This one is the fourth and decides; it never waits for anything but the next event, and
// nothing else touches the session.
type session struct {
	worker *Worker
	stream stream
	lane   *lane

	asked      asked // what the engine has said so far
	told       told  // what it was told, or will be when the outbox is empty
	halfClosed bool
	outbox     []*udf.UdfResponse

	request   *Request
	limit     int           // of a message that the engine takes (P7)
	callLimit time.Duration // of a call into the function (C11), or 0

	life     context.Context // over when the session is
	granted  chan struct{}   // closed when there is a place among those who run (P10)
	giveBack func()          // the place, or the wait for it
	placed   bool            // it was granted
	call     *call           // once there is a place, and the payload is whole
	quiet    bool            // the function has returned
	fed      bool            // the function was told that no more input comes
	queue    [][]byte        // input that it has not taken
	bytes    int             // of the queue
	shut     bool            // so many that the stream gets no credit

	patience *time.Timer // for Cancel (C2), or for the function (R12)
	waiting  <-chan time.Time

	counters counters
}

type asked int

const (
	askedNothing   asked = iota
	askedPayload         // Init; chunks are to come (R2)
	askedOpen            // the payload is whole
	askedFinished        // Finish
	askedCancelled       // Cancel (R9)
)

type told int

const (
	toldNothing told = iota
	toldOpened       // InitResponse (R4)
	toldFailed       // InitResponse with an error, or ErrorResponse (R7)
	toldEnd          // a terminator (R13)
)

const (
	cancelPatience = 5 * time.Second // R12
	errorPatience  = 10 * time.Second
	finishPatience = 1 * time.Second // C2

	// Input that waits for the function while the stream still gets credit. What is in flight then comes on top: in all
	// it is this, the window of the stream, and one message (E5).
	queueBytes = 1 << 20
	// What a message takes beside its bytes.
	queueOverhead = 128
)

// What came from the engine: a message, io.EOF for its half-close, or what is wrong with the stream.
type heard struct {
	message *udf.UdfRequest
	err     error
}

func (s *session) run() error {
	var over context.CancelFunc
	s.life, over = context.WithCancel(s.stream.Context())
	defer over()
	defer s.leave()
	listen := s.listen()
	mouth, sent := s.speak()

	for {
		// Where we stand says what we are ready for: a channel that is nil is one that we do not look at.
		var (
			speak   chan<- *udf.UdfResponse
			next    *udf.UdfResponse
			granted chan struct{}
			opened  <-chan []byte
			input   chan<- []byte
			batch   []byte
			output  <-chan []byte
			done    <-chan struct{}
			late    <-chan string
			hurry   <-chan struct{}
		)
		if len(s.outbox) > 0 {
			speak, next = mouth, s.outbox[0]
		}
		if s.told < toldEnd {
			hurry = s.worker.hurry
		}
		switch working := s.call != nil && !s.quiet && s.told < toldFailed; {
		case !s.placed && s.told == toldNothing:
			granted = s.granted
		case working && s.asked == askedCancelled:
			done = s.call.done
		case working && s.told == toldNothing:
			opened, done, late = s.call.opened, s.call.done, s.call.late
		case working:
			done, late = s.call.done, s.call.late
			if len(s.outbox) == 0 { // no more output than the engine takes
				output = s.call.output
			}
			if len(s.queue) > 0 {
				input, batch = s.call.input, s.queue[0]
			} else if s.asked == askedFinished && !s.fed {
				close(s.call.input)
				s.fed = true
			}
		}

		select {
		case <-s.life.Done(): // to us a broken stream is a Cancel, but nobody is told (R14)
			return status.FromContextError(s.life.Err()).Err()
		case it := <-listen:
			switch {
			case it.err == nil:
				s.hear(it.message)
			case it.err == io.EOF:
				listen = nil
				s.hearHalfClose()
			case s.told == toldEnd:
				listen = nil
			default: // no message of gRPC's, none of ours, or too large a one: transport (R14)
				return it.err
			}
		case <-granted:
			s.placed = true
			s.open()
		case data := <-opened:
			s.sayOpened(data)
		case input <- batch:
			s.taken()
		case data := <-output:
			s.sayData(data)
		case <-done:
			s.returned()
		case where := <-late:
			s.fail(userError("CALL_TIMEOUT", "the function did not return from `%s` within %v (C11)", where, s.callLimit))
			s.worker.overdue(s.call)
		case speak <- next:
			s.outbox = s.outbox[1:]
		case err := <-sent: // the terminator, if nothing is wrong: the stream ends with status OK (R13)
			return err
		case <-s.waiting:
			s.waitedEnough()
		case <-hurry:
			s.hurried()
		}
	}
}

// Listening goes on whatever else does (R6).
func (s *session) listen() <-chan heard {
	ear := make(chan heard)
	go func() {
		for {
			message, err := s.stream.Recv()
			select {
			case ear <- heard{message, err}:
			case <-s.life.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return ear
}

// Sending waits for the engine, and nobody waits for it. It says when the terminator is sent.
func (s *session) speak() (chan<- *udf.UdfResponse, <-chan error) {
	mouth, sent := make(chan *udf.UdfResponse), make(chan error, 1)
	go func() {
		for {
			select {
			case message := <-mouth:
				err := s.stream.Send(message)
				if err != nil || isTerminator(message) {
					sent <- err
					return
				}
			case <-s.life.Done():
				return
			}
		}
	}()
	return mouth, sent
}

// Opens the function as soon as there is a place and the payload is whole.
func (s *session) open() {
	if !s.placed || s.asked == askedPayload {
		return
	}
	s.counters.began = time.Now()
	s.call = begin(s.worker.formats[s.request.GetUdf().GetFormat()], s.request, s.callLimit, &s.worker.totals)
}

func (s *session) taken() {
	s.bytes -= len(s.queue[0]) + queueOverhead
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.credit()
}

// The engine gets room for more as long as the function keeps up (E5).
func (s *session) credit() {
	if shut := s.bytes > queueBytes; shut != s.shut {
		s.shut = shut
		s.lane.setShut(shut)
	}
}

// Input that nobody will take makes room for what comes behind it.
func (s *session) discardInput() {
	s.queue, s.bytes = nil, 0
	s.credit()
}

// The function has returned, and all that it gave was heard.
func (s *session) returned() {
	s.quiet = true
	switch call := s.call; {
	case s.asked == askedCancelled:
		s.end(s.cancelResponse(s.cancelFailure()))
	case s.told == toldNothing && len(call.opened) > 0: // it opened, and had no more to do
		s.sayOpened(<-call.opened)
		if s.told == toldOpened {
			s.returned()
		}
	case call.err != nil:
		s.fail(blameOf(call.err))
	default:
		s.discardInput()
		s.mayFinish()
	}
}

// FinishResponse waits for Finish, also when the function has nothing more to say (R10).
func (s *session) mayFinish() {
	if s.quiet && s.told == toldOpened && s.asked == askedFinished {
		s.end(s.finishResponse(s.call.result))
	}
}

// What went wrong when the function was cancelled, if anything did (R12).
func (s *session) cancelFailure() *failure {
	if err := s.call.err; err != nil && !errors.Is(err, errCancelled) {
		return blameOf(err)
	}
	return nil
}

func blameOf(err error) *failure {
	var wrong *failure
	if errors.As(err, &wrong) {
		return wrong
	}
	return userError("FUNCTION_FAILED", "%v", err)
}

func (s *session) wait(limit time.Duration) {
	if s.patience != nil {
		s.patience.Stop()
	}
	s.patience = time.NewTimer(limit)
	s.waiting = s.patience.C
}

func (s *session) waitedEnough() {
	if s.asked != askedCancelled { // the engine's Cancel did not come (C2)
		s.end(s.cancelResponse(nil))
		return
	}
	s.worker.overdue(s.call)
	s.end(s.cancelResponse(workerError("CANCEL_TIMEOUT", "the function did not return within %v of Cancel (R12)", cancelPatience)))
}

// Whether an execution that is over has failed (M2): an error was told, or the stream broke before its end, and that was
// not what its engine wanted.
func (s *session) hasFailed(broken error) bool {
	return s.counters.failed || broken != nil && s.told != toldEnd && s.asked != askedCancelled
}

// However it ended: the function hears of it, and nobody waits for it any more.
func (s *session) leave() {
	if s.giveBack != nil {
		s.giveBack()
	}
	if s.patience != nil {
		s.patience.Stop()
	}
	if s.call != nil {
		s.call.stop()
		go s.worker.watch(s.call)
	}
}
