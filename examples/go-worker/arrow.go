package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Data is runs of encapsulated Arrow IPC messages (C9): between the bytes of the protocol and the batches of arrow-go.

// A Schema message, or nil for none.
func encodeSchema(schema *arrow.Schema) []byte {
	if schema == nil {
		return nil
	}
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

// Decodes what an Input gives and hands every batch on. What is no Arrow, or of another schema, is the engine's fault (C10).
func eachBatch(next func() ([]byte, error), schema []byte, take func(arrow.RecordBatch) error) error {
	messages, err := split(schema)
	if err != nil {
		return invalid(err)
	}
	source := &source{next: next, messages: messages}
	var agreed *arrow.Schema
	for !source.over { // once, and once more for each Schema in the data (C9)
		source.begun, source.kept, source.grown = false, map[int64]int{}, map[int64]bool{}
		reader, err := ipc.NewReaderFromMessageReader(source, ipc.WithAllocator(source))
		if err != nil {
			return invalid(err)
		}
		if agreed == nil {
			agreed = reader.Schema()
		} else if !sameColumns(agreed, reader.Schema()) {
			return protocolError("ARROW_SCHEMA_MISMATCH", "the data has another schema than Init.input_schema (C9)")
		}
		for reader.Next() {
			batch := reader.RecordBatch()
			batch.Retain()
			if err := validate(batch); err != nil {
				return invalid(err)
			}
			if err := take(batch); err != nil {
				return err
			}
		}
		if err := reader.Err(); err != nil {
			return invalid(err)
		}
	}
	return nil
}

func invalid(err error) error {
	if errors.Is(err, errCancelled) {
		return err
	}
	return protocolError("ARROW_DATA_MALFORMED", "the data is no Arrow of the input's schema (C10): %v", err)
}

func sameColumns(a, b *arrow.Schema) bool {
	return slices.EqualFunc(a.Fields(), b.Fields(), func(a, b arrow.Field) bool {
		return a.Name == b.Name && arrow.TypeEqual(a.Type, b.Type)
	})
}

// What the batch and its arrays say of themselves holds, so that no function reads where nothing is (C10).
func validate(batch arrow.RecordBatch) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	for i, column := range batch.Columns() {
		if int64(column.Len()) != batch.NumRows() { // arrow-go minds only those that are too short
			return fmt.Errorf("column %d has %d rows, and the batch %d", i, column.Len(), batch.NumRows())
		}
		if err := prepare(column.Data()); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return array.ValidateRecordFull(batch)
}

// What arrow-go's validation gets wrong. It looks for buffers that its reader leaves out: that of an array of nulls, which
// has none, and the offsets of a dense union without rows. And of an array without rows it looks at no offset, though the
// writer does, at the first.
func prepare(data arrow.ArrayData) error {
	switch data.DataType().ID() {
	case arrow.NULL:
		data.Reset(data.DataType(), data.Len(), make([]*memory.Buffer, 1), nil, data.NullN(), data.Offset())
	case arrow.DENSE_UNION:
		if offsets := &data.Buffers()[2]; *offsets == nil {
			*offsets = memory.NewBufferBytes(nil)
		}
	case arrow.DICTIONARY:
		return prepare(data.Dictionary())
	case arrow.STRING, arrow.BINARY, arrow.LARGE_STRING, arrow.LARGE_BINARY:
		if data.Len() == 0 && !beginsWithin(data, data.Buffers()[2].Len()) {
			return errors.New("the first offset of no values leads out of them")
		}
	case arrow.LIST, arrow.LARGE_LIST, arrow.MAP:
		if data.Len() == 0 && !beginsWithin(data, data.Children()[0].Len()) {
			return errors.New("the first offset of no lists leads out of their values")
		}
	}
	for _, child := range data.Children() {
		if err := prepare(child); err != nil {
			return err
		}
	}
	return nil
}

// Without rows there may be no offsets at all.
func beginsWithin(data arrow.ArrayData, length int) bool {
	offsets := data.Buffers()[1].Bytes()
	if len(offsets) == 0 {
		return true
	}
	first := uint64(math.MaxUint64)
	switch width := data.DataType().Layout().Buffers[1].ByteWidth; {
	case len(offsets) < width:
	case width == 4:
		first = uint64(binary.NativeEndian.Uint32(offsets))
	default:
		first = binary.NativeEndian.Uint64(offsets)
	}
	return first <= uint64(length)
}

// A source gives arrow-go the messages of one DataRequest after the other. It is the allocator, too: what arrow-go
// allocates is what compressed buffers claim to inflate to, and that has a limit (C10).
type source struct {
	next     func() ([]byte, error) // none: there are no more
	messages []message
	over     bool // next has no more
	begun    bool // a Schema was read
	budget   int  // bytes that the rest of a DataRequest may inflate to

	dictionary *int64         // the one that is read at present
	kept       map[int64]int  // bytes of the dictionaries, which last until they are replaced, or a Schema comes (C9)
	grown      map[int64]bool // those with a delta: at the next RecordBatch arrow-go makes one array of all their parts
}

const (
	leastBudget    = 64 << 20
	mostInflation  = 16
	mostDictionary = 256 << 20
)

func (*source) Retain()  {}
func (*source) Release() {}

func (s *source) Message() (*ipc.Message, error) {
	for len(s.messages) == 0 {
		if s.next == nil {
			return nil, io.EOF
		}
		data, err := s.next()
		if err != nil {
			s.over = true
			return nil, err
		}
		s.budget = max(leastBudget, mostInflation*len(data))
		if s.messages, err = split(data); err != nil {
			return nil, err
		}
	}
	message := s.messages[0]
	if message.kind == ipc.MessageSchema && s.begun {
		return nil, io.EOF // for the next reader
	}
	s.begun = true
	s.messages = s.messages[1:]
	s.dictionary = nil
	switch message.kind {
	case ipc.MessageRecordBatch:
		for id := range s.grown { // what was kept does not come out of a small message
			s.budget += s.kept[id]
		}
		clear(s.grown)
	case ipc.MessageDictionaryBatch:
		if message.delta {
			s.grown[message.dictionary] = true
		} else {
			delete(s.kept, message.dictionary)
			delete(s.grown, message.dictionary)
		}
		s.dictionary = &message.dictionary
		message.body = bytes.Clone(message.body) // it may outlive the batches that it came with
		s.keep(len(message.body))
	}
	return ipc.NewMessage(memory.NewBufferBytes(message.meta), memory.NewBufferBytes(message.body)), nil
}

func (s *source) keep(size int) {
	s.kept[*s.dictionary] += size
	sum := 0
	for _, bytes := range s.kept {
		sum += bytes
	}
	if sum > mostDictionary {
		panic(errors.New("the dictionaries take more than the limit"))
	}
}

func (s *source) Allocate(size int) []byte {
	if size < 0 || size > s.budget {
		panic(errors.New("it inflates to more than the limit"))
	}
	s.budget -= size
	if s.dictionary != nil {
		s.keep(size)
	}
	return memory.DefaultAllocator.Allocate(size)
}

func (s *source) Reallocate(size int, old []byte) []byte {
	grown := s.Allocate(size)
	copy(grown, old)
	return grown
}

func (*source) Free([]byte) {}
