"""Record batches as bytes and back, as pyarrow makes and reads them (C9)."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from dialogue import Stream, data, finish, init
from org.apache.spark.udf.worker.udf_message_pb2 import FinishResponse


def schema_message(schema: pa.Schema) -> bytes:
    """One encapsulated Schema message."""
    return schema.serialize().to_pybytes()


def whole_stream(schema: pa.Schema, *batches: pa.RecordBatch, **options: Any) -> bytes:
    """A stream as a file would hold it: schema, dictionaries and batches, end-of-stream marker."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, schema, options=ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def bare_messages(schema: pa.Schema, *batches: pa.RecordBatch, **options: Any) -> bytes:
    """The DictionaryBatches and RecordBatches of a stream, without schema and marker: what a DataRequest holds."""
    _, *messages = ipc.MessageReader.open_stream(whole_stream(schema, *batches, **options))
    return b"".join(message.serialize().to_pybytes() for message in messages)


def read(schema: pa.Schema, responses: Iterable[bytes]) -> list[pa.RecordBatch]:
    """The batches in DataResponses, each of which must be self-contained: dictionaries before what needs them."""
    batches = []
    for response in responses:
        with ipc.open_stream(schema_message(schema) + response) as reader:
            batches.extend(reader)
    for batch in batches:
        batch.validate(full=True)
    return batches


def call(
    stream: Stream, request: Any, inputs: Iterable[bytes] = ()
) -> tuple[pa.Schema, list[pa.RecordBatch], FinishResponse]:
    """Runs a function over DataRequests: the schema of its output (InitResponse.data), the output, the terminator."""
    schema = ipc.read_schema(pa.py_buffer(stream.open(request).data))
    stream.say(*map(data, inputs), finish())
    responses, finished = stream.hear_until(FinishResponse)
    assert not finished.HasField("error"), finished
    stream.must_end()
    return schema, read(schema, responses), finished


def function(name: str, schema: pa.Schema | None = None, options: str = "{}", **fields: Any) -> Any:
    """Init for a function by name (payload format `function`), with the schema of its input."""
    if schema is not None:
        fields["input_schema"] = schema_message(schema)
    payload = f'{{"function": "{name}", "options": {options}}}'
    return init("function", payload.encode(), **fields)
