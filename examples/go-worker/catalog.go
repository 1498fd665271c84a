package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// The payload format `catalog`: what there is, as a table (docs/payloads.md).
func openCatalog(request *Request) (opened, error) {
	text := func(name string) arrow.Field { return arrow.Field{Name: name, Type: arrow.BinaryTypes.String} }
	formats := strings.Join(slices.Sorted(maps.Keys(payloadFormats())), ",")
	metadata := arrow.NewMetadata([]string{"anyudf.formats"}, []string{formats})
	schema := arrow.NewSchema([]arrow.Field{
		text("name"),
		text("kind"),
		column("arguments", arrow.BinaryTypes.Binary),
		column("result", arrow.BinaryTypes.Binary),
		text("help"),
		text("version"),
		{Name: "aliases", Type: arrow.ListOfField(text("item"))},
		text("volatility"),
	}, &metadata)
	return openRows(request, &invocation{output: schema}, func(rows *rows) error {
		table := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for _, function := range functions {
			for i, value := range []string{0: function.name, 1: function.kind, 4: function.help, 5: "0.1.0", 7: "immutable"} {
				if builder, is := table.Field(i).(*array.StringBuilder); is {
					builder.Append(value)
				}
			}
			for i, schema := range map[int]*arrow.Schema{2: function.arguments, 3: function.result} {
				builder := table.Field(i).(*array.BinaryBuilder)
				if schema == nil {
					builder.AppendNull()
				} else {
					builder.Append(encodeSchema(schema))
				}
			}
			table.Field(6).(*array.ListBuilder).Append(true) // no aliases
		}
		return rows.write(table.NewRecordBatch())
	})
}
