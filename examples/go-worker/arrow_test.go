package main

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
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
	failed = eachBatch(next, schema, func(batch arrow.RecordBatch) error {
		decoded = append(decoded, batch)
		return nil
	})
	return decoded, failed
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

// Columns of every type, with rows and without, are neither refused nor changed (C9).
func TestEveryTypeComesBack(t *testing.T) {
	two := []arrow.Field{column("a", arrow.PrimitiveTypes.Int16), column("b", arrow.BinaryTypes.String)}
	codes := []arrow.UnionTypeCode{0, 1}
	for _, kind := range []arrow.DataType{
		arrow.Null, arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.FixedWidthTypes.Float16,
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.StringView, arrow.BinaryTypes.BinaryView,
		&arrow.FixedSizeBinaryType{ByteWidth: 3}, &arrow.Decimal128Type{Precision: 10, Scale: 2},
		arrow.FixedWidthTypes.Timestamp_us, arrow.FixedWidthTypes.MonthDayNanoInterval,
		arrow.ListOf(arrow.Null), arrow.ListViewOf(arrow.PrimitiveTypes.Int16), arrow.LargeListOf(arrow.BinaryTypes.String),
		arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int16), arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int16),
		arrow.StructOf(two...), arrow.StructOf(column("n", arrow.Null)), arrow.StructOf(),
		arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String),
		arrow.SparseUnionOf(two, codes), arrow.DenseUnionOf(two, codes), arrow.ListOf(arrow.DenseUnionOf(two, codes)),
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String},
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.Null},
	} {
		for rows := range 3 {
			builder := array.NewBuilder(memory.DefaultAllocator, kind)
			if rows > 0 {
				builder.AppendEmptyValue()
				builder.AppendNulls(rows - 1)
			}
			batch := array.NewRecordBatch(schema(column("c", kind)), []arrow.Array{builder.NewArray()}, int64(rows))
			run, err := encodeBatch(batch)
			if err != nil {
				t.Fatal(err)
			}
			if decoded, err := decode(encodeSchema(batch.Schema()), run); err != nil || !array.RecordEqual(batch, decoded[0]) {
				t.Errorf("%v, %d rows: %v, %v", kind, rows, decoded, err)
			}
		}
	}
}

// A small message that would become a large one is refused before it does (C10).
func TestInflationHasALimit(t *testing.T) {
	zeros := array.NewData(arrow.PrimitiveTypes.Int64, leastBudget/8+1, []*memory.Buffer{nil, memory.NewBufferBytes(make([]byte, leastBudget+8))}, nil, 0, 0)
	batch := array.NewRecordBatch(schema(column("zero", zeros.DataType())), []arrow.Array{array.MakeFromData(zeros)}, int64(zeros.Len()))
	var small run
	writer := ipc.NewWriterWithPayloadWriter(&small, ipc.WithSchema(batch.Schema()), ipc.WithZstd())
	if err := writer.Write(batch); err != nil || small.Len() > leastBudget/mostInflation {
		t.Fatal(small.Len(), err)
	}
	if _, err := decode(encodeSchema(batch.Schema()), small.Bytes()); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Error(err)
	}
}

// A stream of Arrow's with a column of words, a DataRequest at a time: a dictionary comes where it is new, and a delta where
// it has grown.
func wordStream(t *testing.T) (schema []byte, part func(dictionary, keys string) []byte) {
	words := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	of := arrow.NewSchema([]arrow.Field{column("word", words)}, nil)
	values := func(kind arrow.DataType, json string) arrow.Array {
		array, _, err := array.FromJSON(memory.DefaultAllocator, kind, strings.NewReader(json))
		if err != nil {
			t.Fatal(err)
		}
		return array
	}
	var stream run
	writer := ipc.NewWriterWithPayloadWriter(&stream, ipc.WithSchema(of), ipc.WithDictionaryDeltas(true))
	return encodeSchema(of), func(dictionary, keys string) []byte {
		column := array.NewDictionaryArray(words, values(words.IndexType, keys), values(words.ValueType, dictionary))
		stream.Reset()
		if err := writer.Write(array.NewRecordBatch(of, []arrow.Array{column}, int64(column.Len()))); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(stream.Bytes())
	}
}

func wordsOf(decoded []arrow.RecordBatch) (words []string) {
	for _, batch := range decoded {
		for row := range int(batch.NumRows()) {
			words = append(words, batch.Column(0).ValueStr(row))
		}
	}
	return words
}

// A dictionary lasts until it is replaced or a Schema begins anew, and may grow (C9).
func TestDictionariesLast(t *testing.T) {
	schema, part := wordStream(t)
	first := part(`["a", "b"]`, `[1, 0]`)
	same := part(`["a", "b"]`, `[0, 0]`)
	more := part(`["a", "b", "c"]`, `[2, 0]`)
	other := part(`["x"]`, `[0, null]`)
	if len(same) >= len(first) {
		t.Fatal("it has its dictionary with it")
	}
	decoded, err := decode(schema, first, same, more, other, same)
	if got := wordsOf(decoded); err != nil || strings.Join(got, " ") != "b a a a c a x (null) x x" {
		t.Errorf("%v, and %v", got, err)
	}
	if decoded, err := decode(schema, first, slices.Concat(schema, same)); len(decoded) != 1 || err == nil {
		t.Errorf("%v, and %v", decoded, err)
	}
}

// A dictionary may be larger than what a small message inflates to, and grow by such messages all the same (C9).
func TestLargeDictionariesGrow(t *testing.T) {
	schema, part := wordStream(t)
	large := `["` + strings.Repeat("a", leastBudget) + `"`
	first := part(large+`]`, `[0]`)
	twice := slices.Concat(part(large+`, "b"]`, `[1]`), part(large+`, "b", "c"]`, `[2]`))
	if len(twice) > 2<<10 {
		t.Fatal("it has more than its deltas with it")
	}
	decoded, err := decode(schema, first, twice)
	if err != nil {
		t.Fatal(err)
	}
	if got := wordsOf(decoded); len(got) != 3 || len(got[0]) != leastBudget || got[1] != "b" || got[2] != "c" {
		t.Errorf("%d words", len(got))
	}
	// Nothing else may inflate to more because of that.
	record := message{kind: ipc.MessageRecordBatch, meta: schema[8:]} // nobody looks at it here
	source := source{
		begun: true, messages: []message{record, record},
		kept: map[int64]int{7: 100, 8: 1000}, grown: map[int64]bool{7: true},
	}
	for range 2 {
		if source.Message(); source.budget != 100 {
			t.Error(source.budget)
		}
	}
}

// What is kept of dictionaries has a limit, and one that is replaced does not count (C9, E5).
func TestDictionariesHaveALimit(t *testing.T) {
	source := source{begun: true, kept: map[int64]int{7: mostDictionary - 12}, grown: map[int64]bool{}}
	for _, step := range []struct{ delta, over bool }{{false, false}, {false, false}, {true, true}} {
		over := func() (over bool) {
			defer func() { over = recover() != nil }()
			message := message{kind: ipc.MessageDictionaryBatch, delta: step.delta, body: make([]byte, 8)}
			message.meta = encodeSchema(schema())[8:] // nobody looks at it here
			source.messages = append(source.messages, message)
			source.Message()
			return
		}()
		if over != step.over {
			t.Errorf("%+v", step)
		}
	}
}

func refused(err error, conditions ...string) bool {
	var wrong *failure
	return errors.As(err, &wrong) && wrong.blame == blameEngine && slices.Contains(conditions, wrong.condition)
}

// A batch that claims to be shorter or longer than its columns is refused; what lies in them would be seen by nobody (C10).
func TestRowsAreThoseOfTheColumns(t *testing.T) {
	kind := column("text", arrow.BinaryTypes.String)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema(kind), strings.NewReader(`[
		{"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "d"}, {"text": "e"}, {"text": "f"}, {"text": "g"}]`))
	if err != nil {
		t.Fatal(err)
	}
	bare, _ := encodeBatch(batch)
	claim := func(rows int64) (run, offsets []byte) {
		run = slices.Clone(bare)
		messages, err := split(run)
		if err != nil {
			t.Fatal(err)
		}
		meta := messages[0].meta
		header, _ := table{flatbuffers.Table{Bytes: meta, Pos: flatbuffers.GetUOffsetT(meta)}}.child(2)
		if !header.MutateInt64Slot(slot(0), rows) {
			t.Fatal("it has no length")
		}
		return run, messages[0].body
	}
	for _, rows := range []int64{0, 3, 6, 7, 8, math.MaxInt64} {
		for _, lies := range []bool{false, true} {
			run, offsets := claim(rows)
			if lies {
				binary.LittleEndian.PutUint32(offsets[4:], 0x7fffffff)
			}
			decoded, err := decode(encodeSchema(batch.Schema()), run)
			if rows == 7 && !lies {
				if err != nil || len(decoded) != 1 {
					t.Errorf("%v, %v", decoded, err)
				}
			} else if len(decoded) > 0 || !refused(err, "ARROW_DATA_MALFORMED") {
				t.Errorf("%d rows, lies %v: %v, %v", rows, lies, decoded, err)
			}
		}
	}
}

// Whatever bytes an engine sends, they are decoded or refused, and what was decoded can be read to the last value and sent
// back (C10).
func TestHostileBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hostile := []byte{0, 1, 0x7f, 0x80, 0xff}
	try := func(schema, run []byte) {
		decoded, err := decode(schema, run)
		if err != nil && !refused(err, "ARROW_DATA_MALFORMED", "ARROW_SCHEMA_MISMATCH") {
			t.Error(err)
		}
		for _, batch := range decoded {
			for _, column := range batch.Columns() {
				if int64(column.Len()) != batch.NumRows() {
					t.Fatalf("%d rows in a batch of %d", column.Len(), batch.NumRows())
				}
				for row := range min(column.Len(), 1000) {
					column.ValueStr(row)
				}
			}
			if _, err := encodeBatch(batch); err != nil {
				t.Error(err)
			}
		}
	}
	whole := exampleBatch()
	for _, batch := range []arrow.RecordBatch{whole, whole.NewSlice(0, 0)} {
		schema := encodeSchema(batch.Schema())
		bare, _ := encodeBatch(batch)
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
}
