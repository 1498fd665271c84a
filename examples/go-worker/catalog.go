package main

import (
	"bytes"
	"encoding/json"
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
		var table []map[string]any
		for _, function := range functions {
			table = append(table, map[string]any{
				"name": function.name, "kind": function.kind, "help": function.help,
				"arguments": encodeSchema(function.arguments), "result": encodeSchema(function.result),
				"version": "0.1.0", "aliases": []string{}, "volatility": "immutable",
			})
		}
		text, err := json.Marshal(table)
		if err != nil {
			return err
		}
		batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, bytes.NewReader(text))
		if err != nil {
			return err
		}
		return rows.write(batch)
	})
}
