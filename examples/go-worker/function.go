package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"example.org/anyudf/go-worker/udf"
)

// A Function runs on a goroutine of its own. It reads its input to the end and gives output whenever it likes: the two
// directions are independent (R6). It returns when all is said, with a closing result if it has one (R10), or with
// what went wrong. Cancellation is an error that Input and Output give; clean-up is a `defer`, and an error of its own
// that is returned then is that of the cancel callback (R12).
type Function func(*Input, Output) ([]byte, error)

// An Open makes a function of what Init and the chunks hold. It has checked all that can be checked before data comes.
type Open func(*Request) (opened, error)

// What a function was opened with.
type Request struct {
	*udf.Init
	Payload []byte // the whole of it, verified (R3)
}

type opened struct {
	run  Function
	data []byte // for InitResponse
}

// Output waits until the engine takes a batch, but no longer than until the execution is over.
type Output func([]byte) error

var errCancelled = errors.New("the execution was cancelled")

// A call is a function at work. The session feeds it and listens to it, through channels alone, so that neither a
// function that never returns nor an engine that never reads can hold the other (M2, R6).
type call struct {
	context context.Context // over when the function is to stop
	stop    context.CancelFunc

	opened chan []byte   // InitResponse.data, once
	input  chan []byte   // closed at Finish; a batch that went in was taken (E5)
	output chan []byte   // a batch that came out is on its way
	late   chan string   // where the function was when its time was over (C11), once
	done   chan struct{} // closed when the function has returned; then these two hold:
	result []byte
	err    error

	clock   clock
	overdue sync.Once

	countsRows      atomic.Bool // the rest is for functions that know of rows
	rowsIn, rowsOut atomic.Int64
	totals          *totals
}

func begin(open Open, request *Request, limit time.Duration, totals *totals) *call {
	c := &call{
		totals: totals,
		opened: make(chan []byte, 1),
		input:  make(chan []byte),
		output: make(chan []byte),
		late:   make(chan string, 1),
		done:   make(chan struct{}),
	}
	c.context, c.stop = context.WithCancel(context.Background())
	c.clock.limit = limit
	c.clock.late = c.late
	go func() {
		defer close(c.done)
		defer c.clock.pause()
		defer func() {
			if cause := recover(); cause != nil {
				c.err = &failure{blameUser, "PANIC", fmt.Sprintf("the function panicked in %s: %v", c.clock.where(), cause),
					string(debug.Stack())}
			}
		}()
		c.clock.enter(opening)
		function, err := open(request)
		if err != nil {
			c.err = err
			return
		}
		c.opened <- function.data
		c.clock.enter(started)
		c.result, c.err = function.run(&Input{c}, c.send)
	}()
	return c
}

func (c *call) send(batch []byte) error {
	c.clock.pause() // time in which the engine does not read is not the function's (C11)
	defer c.clock.resume()
	select {
	case c.output <- batch:
		return nil
	case <-c.context.Done():
		return errCancelled
	}
}

// Input is what an engine sends, batch by batch.
type Input struct{ call *call }

// Next waits for the next batch: io.EOF behind Finish, errCancelled behind Cancel and whatever else ends an execution.
func (in *Input) Next() ([]byte, error) {
	clock := &in.call.clock
	clock.pause() // nor is time in which it does not send (C11)
	if in.call.context.Err() != nil {
		return nil, errCancelled
	}
	select {
	case batch, more := <-in.call.input:
		if !more {
			clock.enter(finishing)
			return nil, io.EOF
		}
		clock.enter(max(clock.place.Load(), 0) + 1)
		return batch, nil
	case <-in.call.context.Done():
		return nil, errCancelled
	}
}

// Each gives every batch to a function, up to Finish, or to the first error.
func (in *Input) Each(take func([]byte) error) error {
	for {
		batch, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = take(batch)
		}
		if err != nil {
			return err
		}
	}
}

// What a function that takes no input does with some: to drop it would pass for having looked at it.
func refuse([]byte) error {
	return userError("UNEXPECTED_INPUT", "the function takes no input, and got some")
}

// Where in the function a call is: a batch has its number, from 1.
const (
	opening   int64 = -2
	started   int64 = 0
	finishing int64 = -1
)

// A clock measures one call into the function after the other, and stands still while the function waits (C11).
type clock struct {
	limit time.Duration // none if 0
	late  chan<- string
	timer *time.Timer
	left  time.Duration // of the limit, for this call
	began time.Time     // zero while it stands still
	work  time.Duration // in all
	place atomic.Int64
}

// A call into the function begins.
func (c *clock) enter(place int64) {
	c.pause()
	c.place.Store(place)
	c.left = c.limit
	c.resume()
}

func (c *clock) resume() {
	c.began = time.Now()
	if c.limit > 0 {
		place := c.where()
		c.timer = time.AfterFunc(max(c.left, 0), func() {
			select {
			case c.late <- place:
			default:
			}
		})
	}
}

func (c *clock) pause() {
	if c.began.IsZero() {
		return
	}
	took := time.Since(c.began)
	c.left -= took
	c.work += took
	c.began = time.Time{}
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (c *clock) where() string {
	switch place := c.place.Load(); place {
	case opening:
		return "open"
	case finishing:
		return "finish"
	case started:
		return "process, before the first batch"
	default:
		return fmt.Sprintf("process, batch %d", place)
	}
}
