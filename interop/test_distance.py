"""`distance_miles`, with batches that pyarrow makes and reads."""

import itertools
from math import asin, cos, isnan, nan, pi, radians, sin, sqrt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc as ipc
import pytest

from batches import bare_messages, call, function, read, schema_message, whole_stream
from dialogue import cancel, data, finish, kind, text
from org.apache.spark.udf.worker.udf_message_pb2 import CancelResponse, ErrorResponse, FinishResponse, InitResponse

EARTH_RADIUS = 3958.7613

ARGUMENTS = pa.schema([(name, pa.float64()) for name in ("lat1", "lon1", "lat2", "lon2")])

AIRPORTS = Path(__file__).parent.parent / "data" / "airports.csv"


def miles(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """The haversine formula with Python's own floating point."""
    lat1, lon1, lat2, lon2 = map(radians, (lat1, lon1, lat2, lon2))
    chord = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(chord)))


def expected(batch: pa.RecordBatch) -> list[float | None]:
    rows = zip(*(column.to_pylist() for column in batch.columns))
    return [None if None in row else miles(*row) for row in rows]


def batch_of(*rows: tuple) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(column, pa.float64()) for column in zip(*rows)], schema=ARGUMENTS)


JFK, LAX = (40.63975111, -73.77892556), (33.94253611, -118.4080744)


@pytest.fixture(scope="session")
def airports() -> pa.RecordBatch:
    """Each airport of the example data, and the one after it."""
    table = pa.csv.read_csv(AIRPORTS)
    lat, lon = (table[name].combine_chunks() for name in ("latitude", "longitude"))
    here, there = slice(None, -1), slice(1, None)
    return pa.RecordBatch.from_arrays([lat[here], lon[here], lat[there], lon[there]], schema=ARGUMENTS)


def test_c9_r4_every_airport(stream, airports):
    """C9: bare batches, the schema in Init, the output's in InitResponse.data."""
    batches = [airports.slice(start, 500) for start in range(0, airports.num_rows, 500)]
    inputs = [batch.serialize().to_pybytes() for batch in batches]
    schema, output, finished = call(stream, function("distance_miles", ARGUMENTS), inputs)
    assert [(field.name, field.type) for field in schema] == [("distance_miles", pa.float64())]
    assert [batch.num_rows for batch in output] == [batch.num_rows for batch in batches]
    for given, found in zip(batches, output):
        assert found.column(0).to_pylist() == pytest.approx(expected(given), rel=1e-12, abs=1e-9)
    counted = {name: int(finished.metrics[name]) for name in ("rows_in", "rows_out", "batches_in", "batches_out")}
    rows, count = airports.num_rows, len(batches)
    assert counted == {"rows_in": rows, "rows_out": rows, "batches_in": count, "batches_out": count}


def test_c9_known_distances(stream):
    """From New York to Los Angeles it is 2,475 miles, as published."""
    batch = batch_of((*JFK, *LAX), (*LAX, *JFK), (*JFK, *JFK), (0.0, 0.0, 0.0, 180.0), (nan, 0.0, 0.0, 0.0))
    _, [output], _ = call(stream, function("distance_miles", ARGUMENTS), [batch.serialize().to_pybytes()])
    there, back, nowhere, half_way_round, unknown = output.column(0).to_pylist()
    assert there == pytest.approx(2475, rel=0.005)
    assert back == pytest.approx(there)
    assert nowhere == 0.0
    assert half_way_round == pytest.approx(pi * EARTH_RADIUS)
    assert isnan(unknown)


def test_c9_nulls_are_kept(stream):
    """A null in any argument gives a null out, row for row, also in a slice that does not begin at a byte."""
    rows = [[*JFK, *LAX] for _ in range(40)]
    for row, argument in itertools.product(range(0, 40, 3), range(4)):
        if row % 4 == argument:
            rows[row][argument] = None
    batch = batch_of(*rows)
    slices = [batch, batch.slice(3, 21), batch.slice(39), batch.slice(5, 0)]
    inputs = [each.serialize().to_pybytes() for each in slices]
    _, output, _ = call(stream, function("distance_miles", ARGUMENTS), inputs)
    assert [found.num_rows for found in output] == [40, 21, 1, 0]
    for given, found in zip(slices, output):
        assert found.column(0).null_count == sum(value is None for value in expected(given))
        assert found.column(0).to_pylist() == pytest.approx(expected(given))


def test_c9_all_null_and_empty(stream):
    nothing = batch_of(*[(None, None, None, None)] * 9)
    _, [nulls, empty], _ = call(
        stream,
        function("distance_miles", ARGUMENTS),
        [nothing.serialize().to_pybytes(), nothing.slice(0, 0).serialize().to_pybytes()],
    )
    assert nulls.column(0).to_pylist() == [None] * 9
    assert empty.num_rows == 0


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("rows", [1, 3_000], ids=["small", "large"])
def test_c9_compressed_bodies(stream, airports, codec, rows):
    """C9: LZ4 and ZSTD are taken; small buffers, which stay as they are within a compressed body, too."""
    batch = airports.slice(0, rows)
    _, output, _ = call(
        stream, function("distance_miles", ARGUMENTS), [bare_messages(ARGUMENTS, batch, compression=codec)]
    )
    assert output[0].column(0).to_pylist() == pytest.approx(expected(batch))


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("schema", [ARGUMENTS, None], ids=["schema-in-init", "schema-in-data"])
def test_c9_a_whole_stream_in_one_request(stream, airports, schema, codec):
    """C9: schema, batches and the end-of-stream marker, whether or not Init said the schema."""
    batches = [airports.slice(0, 100), airports.slice(100, 50)]
    whole = whole_stream(ARGUMENTS, *batches, compression=codec)
    _, output, _ = call(stream, function("distance_miles", schema), [whole])
    found = list(itertools.chain.from_iterable(batch.column(0).to_pylist() for batch in output))
    assert found == pytest.approx(expected(airports.slice(0, 150)))


def test_c9_the_schema_comes_with_the_first_request_only(stream, airports):
    """C9: later messages need not repeat it."""
    first, second = airports.slice(0, 10), airports.slice(10, 10)
    inputs = [whole_stream(ARGUMENTS, first), second.serialize().to_pybytes()]
    _, output, _ = call(stream, function("distance_miles"), inputs)
    assert output[1].column(0).to_pylist() == pytest.approx(expected(second))


def test_c9_several_batches_in_one_request(stream, airports):
    batches = [airports.slice(start, 7) for start in range(0, 70, 7)]
    run = b"".join(batch.serialize().to_pybytes() for batch in batches)
    _, output, _ = call(stream, function("distance_miles", ARGUMENTS), [run])
    assert [batch.num_rows for batch in output] == [7] * 10


@pytest.mark.parametrize("version", [ipc.MetadataVersion.V4, ipc.MetadataVersion.V5])
def test_c9_metadata_versions(stream, airports, version):
    messages = bare_messages(ARGUMENTS, airports, metadata_version=version)
    _, [output], _ = call(stream, function("distance_miles", ARGUMENTS), [messages])
    assert output.column(0).to_pylist() == pytest.approx(expected(airports))


def test_c9_an_output_schema_of_the_engines(stream, airports):
    """C9: then InitResponse has none to say, and the column's name is the engine's."""
    asked = pa.schema([pa.field("far", pa.float64(), metadata={"unit": "mile"})])
    answer = stream.open(function("distance_miles", ARGUMENTS, output_schema=schema_message(asked)))
    assert not answer.HasField("data")
    stream.say(data(airports.serialize().to_pybytes()), finish())
    responses, _ = stream.hear_until(FinishResponse)
    [output] = read(asked, responses)
    assert output.column("far").to_pylist() == pytest.approx(expected(airports))


def test_c9_a_million_rows(stream, airports):
    """A batch of 32 MB in one message, and the answer, which is above what gRPC takes by default, in several."""
    indices = pa.array([row % airports.num_rows for row in range(1_000_000)])
    batch = airports.take(indices)
    conf = {"anyudf.max_message_bytes": str(4 << 20)}
    request = function("distance_miles", ARGUMENTS, session_conf=conf)
    _, output, _ = call(stream, request, [batch.serialize().to_pybytes()])
    assert len(output) > 1
    found = pa.chunked_array([each.column(0) for each in output])
    wanted = pa.array(expected(airports)).take(indices)
    assert len(found) == len(batch)
    assert pc.max(pc.abs(pc.subtract(found.combine_chunks(), wanted))).as_py() < 1e-6


# What does not fit gets an error that says so.

DICTIONARY = pa.dictionary(pa.int32(), pa.float64())


@pytest.mark.parametrize(
    ("column", "says"),
    [(pa.float32(), "Float32"), (DICTIONARY, "Dictionary"), (pa.string(), "Utf8"), (pa.int64(), "Int64")],
    ids=["float32", "dictionary", "string", "int64"],
)
@pytest.mark.parametrize("where", ["init", "data"])
def test_c9_r14_a_column_of_another_type(stream, column, says, where):
    """R14, C12: the worker casts nothing; a UserError names the column and both types, wherever the schema came."""
    schema = ARGUMENTS.set(2, pa.field("somewhere", column))
    if where == "init":
        stream.say(function("distance_miles", schema))
        error = stream.hear(InitResponse).error
    else:
        stream.open(function("distance_miles"))
        batch = pa.RecordBatch.from_arrays([pa.nulls(3, field.type) for field in schema], schema=schema)
        stream.say(data(whole_stream(schema, batch)))
        error = stream.hear(ErrorResponse).error
    assert (kind(error), error.user.error_class) == ("user", "WRONG_ARGUMENT_TYPE")
    assert all(word in text(error) for word in ("lat2", "somewhere", "Float64", says))
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


@pytest.mark.parametrize(
    ("request_", "blame", "condition", "says"),
    [
        (function("distance_miles", pa.schema(list(ARGUMENTS)[:3])), "user", "WRONG_ARGUMENT_COUNT", "lat2"),
        (function("distance_miles", pa.schema([])), "user", "WRONG_ARGUMENT_COUNT", "no columns"),
        (function("distance_mile", ARGUMENTS), "user", "UNKNOWN_FUNCTION", "did you mean distance_miles?"),
        (
            function("distance_miles", ARGUMENTS, output_schema=schema_message(pa.schema([("miles", pa.int64())]))),
            "user",
            "OUTPUT_SCHEMA_MISMATCH",
            "Int64",
        ),
        (
            function("distance_miles", input_schema=b"no schema"),
            "protocol",
            "ARROW_DATA_MALFORMED",
            "Init.input_schema",
        ),
        (
            function("distance_miles", input_schema=schema_message(ARGUMENTS)[:-40]),
            "protocol",
            "ARROW_DATA_MALFORMED",
            "Init.input_schema",
        ),
        (function('x" oops'), "protocol", "INVALID_PAYLOAD", "JSON"),
    ],
    ids=["three", "none", "name", "output", "no-schema", "truncated-schema", "no-json"],
)
def test_r4_c9_c10_c12_an_init_that_does_not_fit(stream, request_, blame, condition, says):
    """C10, C12: told at once, in InitResponse (R4), and under a name that programs can rely on."""
    stream.say(request_)
    error = stream.hear(InitResponse).error
    assert kind(error) == blame
    assert condition == error.user.error_class or text(error).startswith(f"[{condition}]"), error
    assert says in text(error)
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def broken() -> dict[str, bytes]:
    """Requests that are no batches of ARGUMENTS."""
    batch = batch_of(*[(*JFK, *LAX)] * 100)
    whole = batch.serialize().to_pybytes()
    return {
        "rubbish": b"rubbish " * 100,
        "truncated body": whole[:-100],
        "truncated metadata": whole[:40],
        "another schema": whole_stream(pa.schema([("x", pa.int64())])),
        "fewer columns": batch.select(["lat1", "lon1"]).serialize().to_pybytes(),
        "compressed rubbish": flipped(bare_messages(ARGUMENTS, batch, compression="zstd")),
    }


def flipped(message: bytes) -> bytes:
    """The same with every bit of the last buffers changed."""
    return message[:-64] + bytes(byte ^ 0xFF for byte in message[-64:])


@pytest.mark.parametrize("name", broken())
def test_c10_bytes_that_are_no_batches(stream, name):
    """C10: a ProtocolError, and the worker serves on."""
    stream.open(function("distance_miles", ARGUMENTS))
    stream.say(data(broken()[name]))
    error = stream.hear(ErrorResponse).error
    assert kind(error) == "protocol"
    assert text(error).startswith("[ARROW_")
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def test_c9_c10_batches_without_any_schema(stream):
    stream.open(function("distance_miles"))
    stream.say(data(batch_of((*JFK, *LAX)).serialize().to_pybytes()))
    error = stream.hear(ErrorResponse).error
    assert kind(error) == "protocol"
    assert "schema" in text(error)
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()
