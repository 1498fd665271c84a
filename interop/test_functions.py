"""The other bundled functions, and every Arrow type there and back."""

import datetime
import decimal
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pytest

from batches import bare_messages, call, function
from dialogue import data, finish, init
from org.apache.spark.udf.worker.udf_message_pb2 import DataResponse, FinishResponse

ROW = [("a", 1), ("b", None)]

# One column a type, with nulls, empty values and more than one row of each.
COLUMNS = {
    "null": pa.nulls(4),
    "bool": pa.array([True, None, False, True]),
    "int8": pa.array([1, None, -128, 127], pa.int8()),
    "uint64": pa.array([1, None, 0, 2**64 - 1], pa.uint64()),
    "float16": pa.array([1.5, None, -0.0, 65504.0], pa.float16()),
    "float64": pa.array([1.5, None, float("-inf"), 5e-324]),
    "string": pa.array(["größe", None, "", "x" * 300]),
    "large_string": pa.array(["größe", None, "", "x"], pa.large_string()),
    "string_view": pa.array(["größe", None, "", "longer than twelve bytes"], pa.string_view()),
    "binary": pa.array([b"\x00\xff", None, b"", b"x"]),
    "binary_view": pa.array([b"\x00\xff", None, b"", b"longer than twelve bytes"], pa.binary_view()),
    "fixed_binary": pa.array([b"abc", None, b"def", b"ghi"], pa.binary(3)),
    "decimal32": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-9.99"), None], pa.decimal32(5, 2)),
    "decimal128": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-9.99"), None], pa.decimal128(20, 2)),
    "decimal256": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-9.99"), None], pa.decimal256(60, 2)),
    "date": pa.array([datetime.date(2001, 9, 9), None, datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
    "time": pa.array([0, None, 86_399_999_999, 1], pa.time64("us")),
    "timestamp": pa.array([0, None, -1, 2**62], pa.timestamp("us", "Europe/Paris")),
    "duration": pa.array([0, None, -1, 2**62], pa.duration("ns")),
    "interval": pa.array([(1, 2, 3), None, (0, 0, 0), (-1, -2, -3)], pa.month_day_nano_interval()),
    "list": pa.array([[1, None], None, [], [2]]),
    "large_list": pa.array([["a"], None, [], [None]], pa.large_list(pa.string())),
    "fixed_list": pa.array([[1, 2], None, [3, None], [4, 5]], pa.list_(pa.int16(), 2)),
    "list_view": pa.array([[1, None], None, [], [2]], pa.list_view(pa.int64())),
    "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}, {"a": 2, "b": []}]),
    "map": pa.array([ROW, None, [], ROW], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "list_of_dictionary": pa.ListArray.from_arrays(
        [0, 2, 2, 3, 4], pa.array(["a", "b", "a", None]).dictionary_encode()
    ),
    "dense_union": pa.UnionArray.from_dense(
        pa.array([0, 1, 0, 1], pa.int8()),
        pa.array([0, 0, 1, 1], pa.int32()),
        [pa.array([1, None]), pa.array(["x", "y"])],
    ),
    "sparse_union": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0, 1], pa.int8()), [pa.array([1, 2, 3, None]), pa.array(["w", "x", "y", "z"])]
    ),
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 4], pa.int32()), ["a", None, "b"]),
    "extension": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), None] * 2, pa.binary(16))),
}


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("name", COLUMNS)
def test_c9_every_type_comes_back(stream, name, codec):
    """C9: unchanged, with its metadata; whole, in slices, empty, compressed or not."""
    column = COLUMNS[name]
    schema = pa.schema([pa.field(name, column.type, metadata={"field": "kept"})], metadata={"schema": "kept"})
    batch = pa.RecordBatch.from_arrays([column], schema=schema)
    batches = [batch, batch.slice(1, 2), batch.slice(0, 0), batch.slice(3)]
    inputs = [bare_messages(schema, each, compression=codec) for each in batches]
    found, output, _ = call(stream, function("echo_batches", schema), inputs)
    assert found.equals(schema, check_metadata=True)
    assert [shown(batch) for batch in output] == [shown(batch) for batch in batches]


def shown(batch: pa.RecordBatch) -> Any:
    """What must be the same. A dictionary may come back without the values that the batch does not use."""
    return batch.to_pylist() if "dictionary" in batch.schema.names[0] else batch


def test_c9_all_types_at_once(stream):
    """C9: several dictionaries in one schema, among everything else."""
    batch = pa.RecordBatch.from_arrays(list(COLUMNS.values()), names=list(COLUMNS))
    found, output, _ = call(stream, function("echo_batches", batch.schema), [bare_messages(batch.schema, batch)] * 3)
    assert found.equals(batch.schema, check_metadata=True)
    assert output == [batch] * 3


@pytest.mark.parametrize("deltas", [False, True], ids=["replaced", "deltas"])
def test_c9_dictionaries_that_change(stream, deltas):
    """C9: another dictionary in each message, or more of the same; each answer brings what it needs."""
    words = [f"word {number}" for number in range(60)]
    dictionary = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("word", dictionary)])
    batches = []
    for end in range(20, 61, 20):
        indices = pa.array([0, end - 1, None, end // 2], pa.int32())
        column = pa.DictionaryArray.from_arrays(indices, pa.array(words[:end] if deltas else words[:end][::-1]))
        batches.append(pa.RecordBatch.from_arrays([column], schema=schema))
    # The messages of one stream, cut behind each batch.
    whole = pa.BufferOutputStream()
    cuts = []
    options = ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)
    with ipc.new_stream(whole, schema, options=options) as writer:
        cuts.append(len(schema.serialize()))
        for batch in batches:
            writer.write_batch(batch)
            cuts.append(whole.tell())
    written = whole.getvalue().to_pybytes()
    inputs = [written[start:end] for start, end in zip(cuts, cuts[1:])]
    _, output, _ = call(stream, function("echo_batches", schema), inputs)
    assert [batch.column(0).to_pylist() for batch in output] == [batch.column(0).to_pylist() for batch in batches]


def test_c9_c8_explode_words(stream):
    """A map function: another number of rows out than in."""
    batch = pa.record_batch({"text": pa.array(["to be or", None, "", " not "])})
    request = function("explode_words", batch.schema)
    _, output, finished = call(stream, request, [batch.serialize().to_pybytes()])
    assert pa.Table.from_batches(output).to_pylist() == [
        {"word": "to", "position": 1},
        {"word": "be", "position": 2},
        {"word": "or", "position": 3},
        {"word": "not", "position": 1},
    ]
    assert (finished.metrics["rows_in"], finished.metrics["rows_out"]) == ("4", "4")


def test_r6_c9_generate_series(stream):
    """R6: a table function answers without being asked."""
    request = function("generate_series", options='{"start": 10, "stop": 1, "step": -4, "batch_rows": 2}')
    _, output, _ = call(stream, request)
    assert [batch.column("value").to_pylist() for batch in output] == [[10, 6], [2]]


def test_r10_count_rows(stream):
    """R10: a sink's result is FinishResponse.data, and its metrics are the function's own (C8)."""
    batch = pa.record_batch({"x": pa.array([1, None, 3])})
    stream.open(function("count_rows", batch.schema))
    stream.say(*[data(batch.serialize().to_pybytes())] * 3, finish())
    finished = stream.hear(FinishResponse)
    assert (finished.data, finished.metrics["nulls"]) == (b"9", "3")
    stream.must_end()


def test_c9_r6_the_catalog(stream):
    """The list of functions is a table function itself; a schema within it is an encapsulated message."""
    schema, [catalog], _ = call(stream, init("catalog"))
    known = ["name", "kind", "arguments", "result", "help", "version", "aliases", "volatility"]
    assert schema.names == [*known, "repeatable", "timeout_ms", "examples", "overloads"]
    assert {"catalog", "expression", "function"} <= set(schema.metadata[b"anyudf.formats"].decode().split(","))
    functions = {row["name"]: row for row in catalog.to_pylist()}
    assert {name: row["kind"] for name, row in functions.items()} == {
        "count_rows": "aggregate",
        "distance_miles": "scalar",
        "echo_batches": "map",
        "explode_words": "map",
        "generate_series": "table",
    }
    arguments = ipc.read_schema(pa.py_buffer(functions["distance_miles"]["arguments"]))
    assert arguments.names == ["lat1", "lon1", "lat2", "lon2"]
    assert functions["echo_batches"]["arguments"] is None
    assert {(row["volatility"], tuple(row["aliases"])) for row in functions.values()} == {("immutable", ())}
    assert all(row["help"] for row in functions.values())


def test_s1_echo_decodes_nothing(stream):
    """S1: what is no Arrow at all comes back too."""
    stream.open(init(input_schema=b"no schema", output_schema=b"\xff"))
    stream.say(data(b"\xff\xff\xff\xff no batch"), finish())
    assert stream.hear(DataResponse).data == b"\xff\xff\xff\xff no batch"
    stream.hear(FinishResponse)
    stream.must_end()
