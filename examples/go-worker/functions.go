package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// The payload format `function` (docs/payloads.md), and the functions that it calls.

type definition struct {
	name, kind, help string
	arguments        *arrow.Schema // none: any columns
	result           *arrow.Schema // none: it depends on the input
	open             func(*invocation) (rowFunction, error)
}

// One that sees rows.
type rowFunction func(*rows) error

type invocation struct {
	options json.RawMessage
	input   *arrow.Schema // nil if there is no input
	output  *arrow.Schema
}

// What a function reads, and where it writes. It counts.
type rows struct {
	*invocation
	call   *call
	in     *Input
	schema []byte
	out    Output
}

func schema(fields ...arrow.Field) *arrow.Schema { return arrow.NewSchema(fields, nil) }

func column(name string, kind arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: kind, Nullable: true}
}

var functions = []*definition{
	{
		name: "distance_miles", kind: "scalar",
		help: "great-circle distance in miles between two points given in degrees",
		arguments: schema(column("lat1", arrow.PrimitiveTypes.Float64), column("lon1", arrow.PrimitiveTypes.Float64),
			column("lat2", arrow.PrimitiveTypes.Float64), column("lon2", arrow.PrimitiveTypes.Float64)),
		result: schema(column("distance_miles", arrow.PrimitiveTypes.Float64)),
		open:   scalar(distanceMiles),
	},
	{
		name: "echo_batches", kind: "map",
		help: "every batch as it came, decoded and encoded again",
		open: func(*invocation) (rowFunction, error) { return echoBatches, nil },
	},
	{
		name: "generate_series", kind: "table",
		help:      "whole numbers from `start` (1) to `stop` in steps of `step` (1); these are options",
		arguments: schema(),
		result:    schema(arrow.Field{Name: "value", Type: arrow.PrimitiveTypes.Int64}),
		open:      openSeries,
	},
}

func openFunction(request *Request) (opened, error) {
	var payload struct {
		Function string          `json:"function"`
		Options  json.RawMessage `json:"options"`
	}
	if err := json.Unmarshal(request.Payload, &payload); err != nil || payload.Function == "" {
		return opened{}, protocolError("INVALID_PAYLOAD", "the payload is no JSON object with the name of a `function`")
	}
	definition, err := find(payload.Function)
	if err != nil {
		return opened{}, err
	}
	invocation := &invocation{options: payload.Options}
	if invocation.options == nil {
		invocation.options = json.RawMessage("{}")
	}
	if definition.kind != "table" {
		if request.InputSchema == nil {
			return opened{}, protocolError("MISSING_FIELD", "`%s` has input, and Init.input_schema is not set (C9)", definition.name)
		}
		if invocation.input, err = decodeSchema(request.InputSchema); err != nil {
			return opened{}, protocolError("ARROW_DATA_MALFORMED", "Init.input_schema is no Schema message of Arrow's (C9): %v", err)
		}
	}
	if definition.kind == "scalar" {
		if err := checkArguments(definition, invocation.input); err != nil {
			return opened{}, err
		}
	}
	if invocation.output = definition.result; invocation.output == nil {
		invocation.output = invocation.input
	}
	run, err := definition.open(invocation)
	if err != nil {
		return opened{}, err
	}
	return openRows(request, invocation, run)
}

// A function over rows as one over bytes.
func openRows(request *Request, invocation *invocation, run rowFunction) (opened, error) {
	var data []byte
	if request.OutputSchema == nil {
		data = encodeSchema(invocation.output) // C9
	} else if wanted, err := decodeSchema(request.OutputSchema); err != nil {
		return opened{}, protocolError("ARROW_DATA_MALFORMED", "Init.output_schema is no Schema message of Arrow's (C9): %v", err)
	} else if !sameTypes(wanted, invocation.output) {
		return opened{}, userError("OUTPUT_SCHEMA_MISMATCH", "the function gives %v, not what Init.output_schema says", types(invocation.output))
	}
	return opened{data: data, run: func(in *Input, out Output) ([]byte, error) {
		in.call.countsRows.Store(true)
		err := run(&rows{invocation: invocation, call: in.call, in: in, schema: request.InputSchema, out: out})
		if err == nil && invocation.input == nil {
			err = in.Each(refuse)
		}
		return nil, err
	}}, nil
}

func (r *rows) read(each func(arrow.RecordBatch) error) error {
	return eachBatch(r.in.Next, r.schema, func(batch arrow.RecordBatch) error {
		r.call.rowsIn.Add(batch.NumRows())
		r.call.totals.rowsIn.Add(batch.NumRows())
		return each(batch)
	})
}

func (r *rows) write(batch arrow.RecordBatch) error {
	bytes, err := encodeBatch(batch)
	if err != nil {
		return err
	}
	r.call.rowsOut.Add(batch.NumRows())
	r.call.totals.rowsOut.Add(batch.NumRows())
	return r.out(bytes)
}

// A value for each row.
func scalar(compute func(arrow.RecordBatch) arrow.Array) func(*invocation) (rowFunction, error) {
	return func(*invocation) (rowFunction, error) {
		return func(rows *rows) error {
			return rows.read(func(batch arrow.RecordBatch) error {
				return rows.write(array.NewRecordBatch(rows.output, []arrow.Array{compute(batch)}, batch.NumRows()))
			})
		}, nil
	}
}

func distanceMiles(batch arrow.RecordBatch) arrow.Array {
	const earthRadiusMiles = 3958.7613
	var columns [4]*array.Float64
	for i := range columns {
		columns[i] = batch.Column(i).(*array.Float64)
	}
	result := array.NewFloat64Builder(memory.DefaultAllocator)
	result.Reserve(int(batch.NumRows()))
	for row := range int(batch.NumRows()) {
		if slices.ContainsFunc(columns[:], func(column *array.Float64) bool { return column.IsNull(row) }) {
			result.AppendNull()
			continue
		}
		radians := func(column int) float64 { return columns[column].Value(row) * math.Pi / 180 }
		lat1, lon1, lat2, lon2 := radians(0), radians(1), radians(2), radians(3)
		north, east := math.Sin((lat2-lat1)/2), math.Sin((lon2-lon1)/2)
		haversine := north*north + math.Cos(lat1)*math.Cos(lat2)*east*east
		result.Append(2 * earthRadiusMiles * math.Asin(math.Sqrt(min(1, haversine))))
	}
	return result.NewArray()
}

func echoBatches(rows *rows) error { return rows.read(rows.write) }

func openSeries(invocation *invocation) (rowFunction, error) {
	options := struct {
		Start, Step int64
		Stop        *int64
	}{Start: 1, Step: 1}
	if err := json.Unmarshal(invocation.options, &options); err != nil || options.Stop == nil || options.Step < 1 {
		return nil, userError("BAD_OPTIONS", "`generate_series` needs a whole number `stop`, and a `step` from 1 on if there is one")
	}
	return func(rows *rows) error {
		for next, more := options.Start, options.Start <= *options.Stop; more; {
			values := array.NewInt64Builder(memory.DefaultAllocator)
			for more && values.Len() < 8192 {
				values.Append(next)
				more = uint64(*options.Stop)-uint64(next) >= uint64(options.Step) // nothing overflows, wherever it stops
				next += options.Step
			}
			column := values.NewArray()
			if err := rows.write(array.NewRecordBatch(rows.output, []arrow.Array{column}, int64(column.Len()))); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func find(name string) (*definition, error) {
	var alike []string
	for _, function := range functions {
		if function.name == name {
			return function, nil
		}
		if strings.Contains(function.name, name) || strings.Contains(name, function.name) {
			alike = append(alike, "`"+function.name+"`")
		}
	}
	if alike == nil {
		return nil, userError("UNKNOWN_FUNCTION", "there is no function %q", name)
	}
	return nil, userError("UNKNOWN_FUNCTION", "there is no function %q; is it %s?", name, strings.Join(alike, " or "))
}

func checkArguments(function *definition, input *arrow.Schema) error {
	if want, got := function.arguments.NumFields(), input.NumFields(); want != got {
		return userError("WRONG_ARGUMENT_COUNT", "`%s` takes %d arguments, and got %d", function.name, want, got)
	}
	for i, want := range function.arguments.Fields() {
		if got := input.Field(i).Type; !arrow.TypeEqual(want.Type, got) {
			return userError("WRONG_ARGUMENT_TYPE", "argument %d of `%s`, `%s`, is %v, and got %v", i+1, function.name, want.Name, want.Type, got)
		}
	}
	return nil
}

func sameTypes(a, b *arrow.Schema) bool {
	return slices.EqualFunc(a.Fields(), b.Fields(), func(a, b arrow.Field) bool { return arrow.TypeEqual(a.Type, b.Type) })
}

func types(schema *arrow.Schema) string {
	var names []string
	for _, field := range schema.Fields() {
		names = append(names, fmt.Sprint(field.Type))
	}
	return "(" + strings.Join(names, ", ") + ")"
}
