package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// A connection lies between grpc-go and its socket and sees the frames of HTTP/2 pass. It is there for two things that
// grpc-go does not let a server do:
//
//   - Give credit back when the function takes a batch (E5). grpc-go gives it when a message is read, and a message has
//     to be read for Cancel to be heard. So everything is read at once, and a WINDOW_UPDATE of a stream whose function
//     has enough to do is kept here until it wants more.
//   - Know when a stream has ended (M4). That a handler has returned says nothing: its last words may wait behind output
//     that nobody reads.
//
// It changes no frame, only when those are sent; and it knows nothing of the protocol.
type connection struct {
	net.Conn
	in     *bufio.Reader
	left   int    // bytes of the incoming frame that were not read yet
	headed uint32 // the stream of the HEADERS that were read last

	writing sync.Mutex // held over writing, and so never by a session
	body    int        // bytes of the outgoing frame that are still to come
	torn    []byte     // the beginning of a frame, too short to say what it is
	updates []byte     // whole frames of our own, for between two of grpc-go's

	lock   sync.Mutex // held for a moment
	lanes  map[uint32]*lane
	closed bool // and a lane that is opened all the same has ended
}

// A lane is a stream of a connection that withLane was called for.
type lane struct {
	connection *connection
	id         uint32
	shut       bool   // it gets no credit
	held       uint32 // what it would have got
	ended      bool
	onEnd      func()
}

// Frames of HTTP/2 (RFC 9113).
const (
	prefaceLength     = 24
	headLength        = 9 // length 3, type 1, flags 1, stream 4
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameWindowUpdate = 8
	updateLength      = headLength + 4
	flagEndStream     = 1
)

// How many bytes of data left this process on lanes: whether anybody reads what is still to be said there.
var bytesTaken atomic.Int64

func newConnection(conn net.Conn) *connection {
	return &connection{
		Conn:  conn,
		in:    bufio.NewReaderSize(conn, 64<<10),
		left:  prefaceLength,
		lanes: map[uint32]*lane{},
	}
}

// Read never gives bytes of two frames at once. So, with a reader that keeps nothing for later, the frame that grpc-go
// has in its hands is the one that was read last.
func (c *connection) Read(into []byte) (int, error) {
	if c.left == 0 {
		if head, err := c.in.Peek(headLength); err == nil {
			length, kind, _, id := parseHead(head)
			c.left = headLength + length
			switch kind {
			case frameHeaders:
				c.headed = id
			case frameReset:
				c.end(id)
			}
		}
	}
	if c.left > 0 && len(into) > c.left {
		into = into[:c.left]
	}
	n, err := c.in.Read(into)
	c.left = max(0, c.left-n)
	return n, err
}

func (c *connection) Write(from []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	written := len(from)
	if c.torn != nil {
		from, c.torn = append(c.torn, from...), nil
	}
	var ended []uint32
	at := 0
	for at < len(from) {
		if c.body > 0 {
			step := min(c.body, len(from)-at)
			c.body -= step
			at += step
			continue
		}
		rest := from[at:]
		if len(rest) < headLength || rest[3] == frameWindowUpdate && len(rest) < updateLength {
			c.torn = bytes.Clone(rest)
			from = from[:at]
			break
		}
		length, kind, flags, id := parseHead(rest)
		if kind == frameWindowUpdate && c.hold(id, binary.BigEndian.Uint32(rest[headLength:])) {
			if err := c.pass(from[:at]); err != nil {
				return 0, err
			}
			from, at = rest[updateLength:], 0
			continue
		}
		switch {
		case kind == frameData:
			c.count(id, length)
		case kind == frameHeaders && flags&flagEndStream != 0 || kind == frameReset:
			ended = append(ended, id)
		}
		c.body = length
		at += headLength
	}
	if err := c.pass(from); err != nil {
		return 0, err
	}
	for _, id := range ended {
		c.end(id)
	}
	return written, c.passUpdates()
}

func (c *connection) pass(bytes []byte) error {
	if len(bytes) == 0 {
		return nil
	}
	_, err := c.Conn.Write(bytes)
	return err
}

func (c *connection) passUpdates() error {
	if c.body > 0 || c.torn != nil {
		return nil // in the middle of a frame
	}
	c.lock.Lock()
	updates := c.updates
	c.updates = nil
	c.lock.Unlock()
	return c.pass(updates)
}

func (c *connection) Close() error {
	c.lock.Lock()
	c.closed = true
	open := slices.Collect(maps.Keys(c.lanes))
	c.lock.Unlock()
	for _, id := range open {
		c.end(id)
	}
	return c.Conn.Close()
}

func (c *connection) hold(id, increment uint32) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	lane := c.lanes[id]
	if lane == nil || !lane.shut {
		return false
	}
	lane.held += increment
	return true
}

func (c *connection) count(id uint32, length int) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.lanes[id] != nil {
		bytesTaken.Add(int64(length))
	}
}

func (c *connection) end(id uint32) {
	c.lock.Lock()
	lane := c.lanes[id]
	delete(c.lanes, id)
	var onEnd func()
	if lane != nil {
		lane.ended = true
		onEnd = lane.onEnd
	}
	c.lock.Unlock()
	if onEnd != nil {
		onEnd()
	}
}

// A lane that is shut keeps the credit of its stream. When it is opened again it gives what it has kept.
func (l *lane) setShut(shut bool) {
	c := l.connection
	c.lock.Lock()
	defer c.lock.Unlock()
	l.shut = shut
	if shut || l.held == 0 {
		return
	}
	if !l.ended {
		frame := [updateLength]byte{2: 4, 3: frameWindowUpdate}
		binary.BigEndian.PutUint32(frame[5:], l.id)
		binary.BigEndian.PutUint32(frame[headLength:], l.held)
		c.updates = append(c.updates, frame[:]...)
		go func() { // whoever writes may wait for the socket, and nobody who listens may wait for that
			c.writing.Lock()
			defer c.writing.Unlock()
			c.passUpdates() // that it failed, whoever reads notices
		}()
	}
	l.held = 0
}

// Calls f when the stream has ended: all was sent, or it was reset, or its connection is gone.
func (l *lane) whenEnded(f func()) {
	l.connection.lock.Lock()
	ended := l.ended
	l.onEnd = f
	l.connection.lock.Unlock()
	if ended {
		f()
	}
}

type laneKey struct{}

// The stream that grpc-go is about to open, whose HEADERS it has just read. To be called where it does that: in its tap.
func withLane(ctx context.Context) context.Context {
	who, _ := peer.FromContext(ctx)
	c := who.AuthInfo.(localInfo).connection
	l := &lane{connection: c, id: c.headed}
	c.lock.Lock()
	if l.ended = c.closed; !l.ended {
		c.lanes[l.id] = l
	}
	c.lock.Unlock()
	return context.WithValue(ctx, laneKey{}, l)
}

func laneOf(ctx context.Context) *lane { return ctx.Value(laneKey{}).(*lane) }

func parseHead(b []byte) (length int, kind, flags byte, stream uint32) {
	return int(b[0])<<16 | int(b[1])<<8 | int(b[2]), b[3], b[4], binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1)
}

// The place in grpc-go at which a connection gets in between is that of TLS, which is also where one says who the peer
// is. On a Unix socket that is its user: the owner of this process, or root (P9).
type localCredentials struct{}

type localInfo struct {
	credentials.CommonAuthInfo
	connection *connection
}

func (localInfo) AuthType() string { return "local" }

func (localCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := checkPeer(conn); err != nil {
		conn.Close()
		return nil, nil, err
	}
	c := newConnection(conn)
	return c, localInfo{connection: c}, nil
}

func (localCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	panic("a worker calls nobody")
}

func (localCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "local"}
}
func (c localCredentials) Clone() credentials.TransportCredentials { return c }
func (localCredentials) OverrideServerName(string) error           { return nil }
