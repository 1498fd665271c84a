package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	flatbuffers "github.com/google/flatbuffers/go"
)

// What is looked at before arrow-go sees it: everything that it would allocate on the strength of a claim, since no recover
// helps against that. For the rest it has a recover of its own (C10).

// One message of a run: what its metadata says of it, as far as somebody else than arrow-go has to know.
type message struct {
	kind       ipc.MessageType
	dictionary int64 // of a DictionaryBatch
	delta      bool
	meta, body []byte
}

// Cuts a run into its messages, whose bytes stay where they are.
func split(run []byte) (messages []message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("bad metadata: %v", cause)
		}
	}()
	take := func(length int64) (taken []byte) {
		if length < 0 || length > int64(len(run)) {
			panic(fmt.Errorf("%d bytes are claimed, and %d are there", length, len(run)))
		}
		taken, run = run[:length:length], run[length:]
		return taken
	}
	for len(run) > 0 {
		length := binary.LittleEndian.Uint32(take(4))
		if length == 0xffffffff { // the marker that every message of today begins with
			length = binary.LittleEndian.Uint32(take(4))
		}
		if length == 0 { // the end of a stream, which is tolerated (C9)
			continue
		}
		meta := take(int64(length))
		message, bodyLength, err := readMeta(meta)
		if err != nil {
			return nil, err
		}
		if message.kind == ipc.MessageSchema && len(messages) > 0 {
			return nil, errors.New("a Schema behind other messages")
		}
		message.meta, message.body = meta, take(bodyLength)
		messages = append(messages, message)
	}
	return messages, nil
}

// The tables of Arrow's Message.fbs and Schema.fbs, as far as they have something that is counted. Panics where an
// offset leads out of the bytes.
func readMeta(meta []byte) (m message, bodyLength int64, err error) {
	t := table{flatbuffers.Table{Bytes: meta, Pos: flatbuffers.GetUOffsetT(meta)}}
	if err := t.vectors(4, 4); err != nil { // custom_metadata
		return m, 0, err
	}
	header, is := t.child(2)
	if !is {
		return m, 0, errors.New("a message without a header")
	}
	m.kind = ipc.MessageType(t.GetByteSlot(slot(1), 0))
	switch m.kind {
	case ipc.MessageSchema:
		fields := 0
		err = errors.Join(header.vectors(2, 4), header.fields(1, &fields, 0)) // custom_metadata, fields
	case ipc.MessageDictionaryBatch:
		m.dictionary, m.delta = header.GetInt64Slot(slot(0), 0), header.GetBoolSlot(slot(2), false)
		if header, is = header.child(1); !is { // data
			return m, 0, errors.New("a DictionaryBatch without data")
		}
		err = header.recordBatch()
	case ipc.MessageRecordBatch:
		err = header.recordBatch()
	default:
		err = fmt.Errorf("a message of kind %d", m.kind)
	}
	return m, t.GetInt64Slot(slot(3), 0), err
}

type table struct{ flatbuffers.Table }

const (
	mostFields  = 1 << 16
	mostNesting = 64
)

func slot(id int) flatbuffers.VOffsetT { return flatbuffers.VOffsetT(4 + 2*id) }

func (t table) child(id int) (table, bool) {
	offset := flatbuffers.UOffsetT(t.Offset(slot(id)))
	if offset == 0 {
		return table{}, false
	}
	return table{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(offset + t.Pos)}}, true
}

// The vector in a slot has room for as many elements as it claims.
func (t table) vectors(id, size int) error {
	offset := flatbuffers.UOffsetT(t.Offset(slot(id)))
	if offset == 0 {
		return nil
	}
	if length, begin := t.VectorLen(offset), int(t.Vector(offset)); length < 0 || length > (len(t.Bytes)-begin)/size {
		return fmt.Errorf("a list of %d elements that is not there", length)
	}
	return nil
}

func (t table) fields(id int, fields *int, depth int) error {
	if err := t.vectors(id, 4); err != nil {
		return err
	}
	offset := flatbuffers.UOffsetT(t.Offset(slot(id)))
	if offset == 0 {
		return nil
	}
	for i := range t.VectorLen(offset) {
		if *fields++; *fields > mostFields || depth > mostNesting {
			return errors.New("too many fields, or too deep")
		}
		field := table{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(t.Vector(offset) + flatbuffers.UOffsetT(i)*4)}}
		if kind, is := field.child(3); is && field.GetByteSlot(slot(2), 0) == 14 { // the typeIds of a Union
			if err := kind.vectors(1, 4); err != nil {
				return err
			}
		}
		if err := errors.Join(field.vectors(6, 4), field.fields(5, fields, depth+1)); err != nil { // custom_metadata, children
			return err
		}
	}
	return nil
}

func (t table) recordBatch() error {
	if err := errors.Join(t.vectors(1, 16), t.vectors(2, 16), t.vectors(4, 8)); err != nil { // nodes, buffers, variadicBufferCounts
		return err
	}
	if t.GetInt64Slot(slot(0), 0) < 0 {
		return errors.New("fewer rows than none")
	}
	if offset := flatbuffers.UOffsetT(t.Offset(slot(4))); offset != 0 {
		for i := range t.VectorLen(offset) {
			if count := t.GetInt64(t.Vector(offset) + flatbuffers.UOffsetT(i)*8); count < 0 || count > int64(len(t.Bytes)) {
				return fmt.Errorf("%d buffers that are not there", count)
			}
		}
	}
	return nil
}
