package main

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
)

func frame(kind, flags byte, stream byte, payload ...byte) []byte {
	return append([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}, payload...)
}

// Wherever grpc-go's writes are cut, a stream that is shut gets no credit until it is opened, everything else passes, and
// a stream ends with its last HEADERS (E5, M4).
func TestCreditIsHeld(t *testing.T) {
	update := func(stream, credit byte) []byte { return frame(frameWindowUpdate, 0, stream, 0, 0, 0, credit) }
	sent := slices.Concat(
		frame(frameData, 0, 1, 1, 2, 3), update(1, 7), update(0, 9), update(3, 5), update(1, 8),
		frame(frameHeaders, flagEndStream, 3, 4), frame(frameData, 0, 1),
	)
	passed := slices.Concat(
		frame(frameData, 0, 1, 1, 2, 3), update(0, 9), update(3, 5),
		frame(frameHeaders, flagEndStream, 3, 4), frame(frameData, 0, 1),
	)
	for piece := 1; piece <= len(sent); piece++ {
		near, far := net.Pipe()
		c := newConnection(near)
		shut := &lane{connection: c, id: 1, shut: true}
		ends := &lane{connection: c, id: 3}
		c.lanes = map[uint32]*lane{1: shut, 3: ends}
		ended := make(chan struct{})
		ends.whenEnded(func() { close(ended) })
		received := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(far)
			received <- all
		}()
		for part := range slices.Chunk(sent, piece) {
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		<-ended
		if shut.ended {
			t.Error("a stream has ended that has not")
		}
		shut.setShut(false)
		c.Write(frame(frameData, 0, 1, 6)) // our own update may come before this or behind it
		c.writing.Lock()                   // whoever brings it has come and gone, or finds nothing to bring
		c.writing.Unlock()
		c.Close()
		got := <-received
		for _, last := range [][]byte{
			slices.Concat(passed, update(1, 15), frame(frameData, 0, 1, 6)),
			slices.Concat(passed, frame(frameData, 0, 1, 6), update(1, 15)),
		} {
			if bytes.Equal(got, last) {
				got = nil
			}
		}
		if got != nil {
			t.Errorf("in pieces of %d: %x passed", piece, got)
		}
	}
}

// That answers of Manage are read says nothing of who does not read an execution's output (M4).
func TestOnlyLanesAreCounted(t *testing.T) {
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	c := newConnection(near)
	c.lanes = map[uint32]*lane{1: {connection: c, id: 1}}
	before := bytesTaken.Load()
	c.Write(slices.Concat(frame(frameData, 0, 3, 1, 2, 3, 4), frame(frameData, 0, 1, 5, 6), frame(frameData, 0, 3, 7)))
	if counted := bytesTaken.Load() - before; counted != 2 {
		t.Errorf("%d bytes were counted", counted)
	}
}

// Reads end where frames do, so that grpc-go never has the HEADERS of two streams at once.
func TestReadsEndWhereFramesDo(t *testing.T) {
	near, far := net.Pipe()
	c := newConnection(near)
	preface := make([]byte, prefaceLength)
	go far.Write(slices.Concat(preface, frame(frameHeaders, 0, 1, 1, 1), frame(frameData, 0, 1), frame(frameHeaders, 0, 3, 2)))
	into := make([]byte, 1000)
	for i, want := range []struct{ bytes, headed int }{{prefaceLength, 0}, {headLength + 2, 1}, {headLength, 1}, {headLength + 1, 3}} {
		if n, err := c.Read(into); err != nil || n != want.bytes || int(c.headed) != want.headed {
			t.Errorf("read %d: %d bytes, stream %d, %v", i, n, c.headed, err)
		}
	}
}
