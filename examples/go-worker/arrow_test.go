package main

import (
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A batch with a column of every kind of layout that is easily got wrong.
func exampleBatch() arrow.RecordBatch {
	nested := arrow.StructOf(column("a", arrow.BinaryTypes.String), column("b", arrow.ListOf(arrow.PrimitiveTypes.Int16)))
	words := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	schema := schema(
		column("flag", arrow.FixedWidthTypes.Boolean), column("number", arrow.PrimitiveTypes.Float64),
		column("text", arrow.BinaryTypes.LargeString), column("nested", nested), column("word", words),
		column("fixed", arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int32)), column("nothing", arrow.Null),
	)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[
		{"flag": true, "number": 1.5, "text": "one", "nested": {"a": "x", "b": [1, 2]}, "word": "w", "fixed": [1, 2]},
		{"flag": null, "number": null, "text": null, "nested": null, "word": null, "fixed": null},
		{"flag": false, "number": -1, "text": "", "nested": {"a": null, "b": []}, "word": "v", "fixed": [3, null]}]`))
	if err != nil {
		panic(err)
	}
	return batch
}

// What is decoded of a number of DataRequests.
func decode(schema []byte, runs ...[]byte) (decoded []arrow.RecordBatch, failed error) {
	next := func() ([]byte, error) {
		if len(runs) == 0 {
			return nil, io.EOF
		}
		run := runs[0]
		runs = runs[1:]
		return run, nil
	}
	for batch, err := range batches(next, schema) {
		if err != nil {
			return decoded, err
		}
		decoded = append(decoded, batch)
	}
	return decoded, nil
}

func TestBatchesComeBack(t *testing.T) {
	batch := exampleBatch()
	schema := encodeSchema(batch.Schema())
	bare, err := encodeBatch(batch)
	if err != nil {
		t.Fatal(err)
	}
	var compressed run
	writer := ipc.NewWriterWithPayloadWriter(&compressed, ipc.WithSchema(batch.Schema()), ipc.WithZstd())
	if err := writer.Write(batch); err != nil {
		t.Fatal(err)
	}
	end := []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
	for name, run := range map[string][]byte{
		"bare":             bare,
		"with its schema":  append(slices.Clone(schema), bare...),
		"with an end":      append(slices.Clone(bare), end...),
		"compressed":       compressed.Bytes(),
		"two in a message": append(slices.Clone(bare), bare...),
	} {
		decoded, err := decode(schema, run, nil, run)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := 2 + 2*strings.Count(name, "two"); len(decoded) != want {
			t.Fatalf("%s: %d batches, not %d", name, len(decoded), want)
		}
		for _, got := range decoded {
			if !array.RecordEqual(batch, got) {
				t.Fatalf("%s: got %v", name, got)
			}
		}
	}
}

// Whatever bytes an engine sends, they are decoded or refused, and what was decoded can be read to the last value (C10).
func TestHostileBytes(t *testing.T) {
	batch := exampleBatch()
	schema := encodeSchema(batch.Schema())
	bare, _ := encodeBatch(batch)
	random := rand.New(rand.NewPCG(1, 2))
	hostile := []byte{0, 1, 0x7f, 0x80, 0xff}
	try := func(schema, run []byte) {
		decoded, _ := decode(schema, run)
		for _, batch := range decoded {
			for row := range min(int(batch.NumRows()), 1000) {
				for _, column := range batch.Columns() {
					column.ValueStr(row)
				}
			}
		}
	}
	for at := range bare {
		try(schema, bare[:at])
		for _, b := range hostile {
			run := slices.Clone(bare)
			run[at] = b
			try(schema, run)
			run[random.IntN(len(run))] = hostile[random.IntN(len(hostile))]
			try(schema, run)
		}
	}
	for at := range schema {
		try(schema[:at], bare)
		for _, b := range hostile {
			wrong := slices.Clone(schema)
			wrong[at] = b
			decodeSchema(wrong)
			try(wrong, bare)
		}
	}
}
