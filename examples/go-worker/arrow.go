package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

// Data is runs of encapsulated Arrow IPC messages (C9): between the bytes of the protocol and the batches of arrow-go.

func encodeSchema(schema *arrow.Schema) []byte {
	var bytes bytes.Buffer
	payload := ipc.GetSchemaPayload(schema, memory.DefaultAllocator)
	if _, err := payload.WritePayload(&bytes); err != nil {
		panic(err) // a buffer takes everything
	}
	return bytes.Bytes()
}

// One batch, behind the dictionaries that it needs, so that it can be read by itself (C9).
func encodeBatch(batch arrow.RecordBatch) ([]byte, error) {
	var run run
	writer := ipc.NewWriterWithPayloadWriter(&run, ipc.WithSchema(batch.Schema()))
	if err := writer.Write(batch); err != nil {
		return nil, err
	}
	return run.Bytes(), writer.Close()
}

// What a stream of arrow-go's would be, without its schema and its end.
type run struct {
	bytes.Buffer
	schemaSeen bool
}

func (*run) Start() error { return nil }
func (*run) Close() error { return nil }
func (r *run) WritePayload(payload ipc.Payload) error {
	if !r.schemaSeen { // it comes first
		r.schemaSeen = true
		return nil
	}
	_, err := payload.WritePayload(r)
	return err
}

// The schema of an encapsulated Schema message.
func decodeSchema(message []byte) (*arrow.Schema, error) {
	messages, err := split(message)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d messages in place of one Schema", len(messages))
	}
	reader, err := ipc.NewReaderFromMessageReader(&source{messages: messages})
	if err != nil {
		return nil, err
	}
	return reader.Schema(), nil
}

// Batches decodes what an Input gives. What is no Arrow, or is of another schema, is the engine's fault (C10).
func batches(next func() ([]byte, error), schema []byte) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		source := &source{next: next}
		source.messages, source.failed = split(schema)
		reader, err := ipc.NewReaderFromMessageReader(source, ipc.WithAllocator(source))
		if err == nil {
			source.schema = reader.Schema()
		}
		for err == nil && reader.Next() {
			batch := reader.RecordBatch()
			batch.Retain()
			if err = checkBatch(batch); err == nil && !yield(batch, nil) {
				return
			}
		}
		if err == nil {
			err = reader.Err()
		}
		if source.failed != nil && source.failed != io.EOF {
			yield(nil, source.failed)
		} else if err != nil {
			yield(nil, invalid(err))
		}
	}
}

func invalid(err error) *failure {
	return protocolError("ARROW_DATA_MALFORMED", "the data is no Arrow of the input's schema (C10): %v", err)
}

// A source gives arrow-go the messages of one DataRequest after the other. It is the allocator, too: what arrow-go
// allocates is what compressed buffers claim to inflate to, and that has a limit (C10).
type source struct {
	next     func() ([]byte, error) // none: there are no more
	messages []*ipc.Message
	schema   *arrow.Schema // of all of them
	failed   error
	budget   int
}

func (*source) Retain()  {}
func (*source) Release() {}

func (s *source) Message() (*ipc.Message, error) {
	for s.failed == nil && len(s.messages) == 0 {
		if s.next == nil {
			return nil, io.EOF
		}
		var data []byte
		if data, s.failed = s.next(); s.failed != nil {
			break
		}
		s.budget = max(64<<20, 16*len(data))
		messages, err := split(data)
		if err != nil {
			s.failed = invalid(err)
			break
		}
		if len(messages) > 0 && messages[0].Type() == ipc.MessageSchema { // it may be said again (C9)
			again, err := ipc.NewReaderFromMessageReader(&source{messages: messages[:1]})
			if err != nil || !again.Schema().Equal(s.schema) {
				s.failed = protocolError("ARROW_SCHEMA_MISMATCH", "the data has another schema than Init.input_schema (C9)")
				break
			}
			messages = messages[1:]
		}
		s.messages = messages
	}
	if s.failed != nil {
		return nil, io.EOF
	}
	message := s.messages[0]
	s.messages = s.messages[1:]
	return message, nil
}

func (s *source) Allocate(size int) []byte {
	if size < 0 || size > s.budget {
		panic(errors.New("it inflates to more than the limit"))
	}
	s.budget -= size
	return memory.DefaultAllocator.Allocate(size)
}

func (s *source) Reallocate(size int, old []byte) []byte {
	grown := s.Allocate(size)
	copy(grown, old)
	return grown
}

func (*source) Free([]byte) {}

// Cuts a run into its messages, whose bodies stay where they are. Everything that arrow-go would allocate on the strength
// of a claim is looked at first, since no recover helps against that; for the rest it has a recover of its own (C10).
func split(run []byte) (messages []*ipc.Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("bad metadata: %v", cause)
		}
	}()
	for len(run) > 0 {
		if len(run) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		length := binary.LittleEndian.Uint32(run)
		run = run[4:]
		if length == 0xffffffff { // the marker that every message of today begins with
			if len(run) < 4 {
				return nil, io.ErrUnexpectedEOF
			}
			length = binary.LittleEndian.Uint32(run)
			run = run[4:]
		}
		if length == 0 { // the end of a stream, which is tolerated (C9)
			continue
		}
		if uint64(length) > uint64(len(run)) {
			return nil, fmt.Errorf("metadata of %d bytes, and %d are there", length, len(run))
		}
		meta := run[:length:length]
		run = run[length:]
		bodyLength, err := checkMeta(meta)
		if err != nil {
			return nil, err
		}
		if bodyLength < 0 || bodyLength > int64(len(run)) {
			return nil, fmt.Errorf("a body of %d bytes, and %d are there", bodyLength, len(run))
		}
		body := run[:bodyLength:bodyLength]
		run = run[bodyLength:]
		messages = append(messages, ipc.NewMessage(memory.NewBufferBytes(meta), memory.NewBufferBytes(body)))
	}
	return messages, nil
}

// The tables of Arrow's Message.fbs and Schema.fbs, as far as they have something that is counted. Panics where an
// offset leads out of the bytes.
func checkMeta(meta []byte) (bodyLength int64, err error) {
	t := table{flatbuffers.Table{Bytes: meta, Pos: flatbuffers.GetUOffsetT(meta)}}
	if err := t.vectors(4, 4); err != nil { // custom_metadata
		return 0, err
	}
	header, is := t.child(2)
	if !is {
		return 0, errors.New("a message without a header")
	}
	switch kind := t.GetByteSlot(slot(1), 0); ipc.MessageType(kind) {
	case ipc.MessageSchema:
		fields := 0
		err = errors.Join(header.vectors(2, 4), header.fields(1, &fields, 0)) // custom_metadata, fields
	case ipc.MessageDictionaryBatch:
		if header, is = header.child(1); !is { // data
			return 0, errors.New("a DictionaryBatch without data")
		}
		err = header.recordBatch()
	case ipc.MessageRecordBatch:
		err = header.recordBatch()
	default:
		err = fmt.Errorf("a message of kind %d", kind)
	}
	return t.GetInt64Slot(slot(3), 0), err
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

// What the arrays say of themselves holds, so that no function reads where nothing is (C10).
func checkBatch(batch arrow.RecordBatch) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	for i, column := range batch.Columns() {
		if err := checkArray(column); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func checkArray(column arrow.Array) error {
	data := column.Data()
	rows := data.Offset() + data.Len()
	if data.Len() < 0 || data.NullN() < 0 || data.NullN() > data.Len() {
		return fmt.Errorf("%d nulls of %d rows", data.NullN(), data.Len())
	}
	for i, buffer := range data.Buffers() {
		needed := 0
		if i == 0 && data.NullN() > 0 {
			needed = (rows + 7) / 8
		} else if width, fixed := column.DataType().(arrow.FixedWidthDataType); i == 1 && fixed {
			needed = (rows*width.BitWidth() + 7) / 8
		}
		if needed > 0 && (buffer == nil || buffer.Len() < needed) {
			return fmt.Errorf("buffer %d is too short for %d rows", i, rows)
		}
	}
	if column, is := column.(*array.Dictionary); is {
		kind := column.DataType().(*arrow.DictionaryType)
		if _, err := array.NewValidatedDictionaryArray(kind, column.Indices(), column.Dictionary()); err != nil {
			return err
		}
		return checkArray(column.Dictionary())
	}
	if column, is := column.(interface{ ValidateFull() error }); is {
		if err := column.ValidateFull(); err != nil {
			return err
		}
	}
	for _, child := range data.Children() {
		if err := checkArray(array.MakeFromData(child)); err != nil {
			return err
		}
	}
	return nil
}
