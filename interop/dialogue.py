"""One Execute stream, spoken word by word, and the words themselves."""

import queue
from typing import Any

import grpc

from org.apache.spark.udf.worker.common_pb2 import UDFWorkerDataFormat
from org.apache.spark.udf.worker.udf_message_pb2 import (
    Cancel,
    DataRequest,
    DataResponse,
    ExecutionError,
    Finish,
    Init,
    InitResponse,
    PayloadChunk,
    UdfControlRequest,
    UdfPayload,
    UdfRequest,
    UdfResponse,
)
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub
from process import PATIENCE

ARROW = UDFWorkerDataFormat.ARROW

EXECUTE = "/org.apache.spark.udf.worker.UdfWorker/Execute"


def init(format: str = "echo", payload: bytes = b"", **fields: Any) -> UdfRequest:
    """Init for a payload format; `fields` are further ones of Init, and win."""
    fields = {"data_format": ARROW, "udf": UdfPayload(format=format, payload=payload)} | fields
    return UdfRequest(control=UdfControlRequest(init=Init(**fields)))


def chunk(data: bytes, *, last: bool = False) -> UdfRequest:
    return UdfRequest(control=UdfControlRequest(payload=PayloadChunk(data=data, last=last)))


def data(data: bytes) -> UdfRequest:
    return UdfRequest(data=DataRequest(data=data))


def finish() -> UdfRequest:
    return UdfRequest(control=UdfControlRequest(finish=Finish()))


def cancel(reason: str | None = None) -> UdfRequest:
    return UdfRequest(control=UdfControlRequest(cancel=Cancel(reason=reason)))


def kind(error: ExecutionError) -> str:
    """Whose fault an error is: `user`, `worker` or `protocol`. Exactly one is set (R14)."""
    kind = error.WhichOneof("kind")
    assert kind, "an error without kind (R14)"
    return kind


def text(error: ExecutionError) -> str:
    """What an error says."""
    return getattr(error, kind(error)).message


class Stream:
    """One Execute stream. A context: whatever is still open at its end is cancelled, as gRPC does it."""

    def __init__(self, channel: grpc.Channel, *, timeout: float = PATIENCE, **options: Any):
        self._words: queue.SimpleQueue = queue.SimpleQueue()
        # gRPC takes the words from a thread of its own, so that saying and hearing never wait for each other (R6).
        self.call = UdfWorkerStub(channel).Execute(iter(self._words.get, None), timeout=timeout, **options)

    def say(self, *requests: UdfRequest) -> None:
        for request in requests:
            self._words.put(request)

    def half_close(self) -> None:
        self._words.put(None)

    def hear(self, *expected: type) -> Any:
        """The next word, which must be of one of these types, or of any when none is given."""
        try:
            response: UdfResponse = next(self.call)
        except StopIteration:
            raise AssertionError(f"the stream has ended; expected {names(expected)}") from None
        word = getattr(response, response.WhichOneof("response") or "", None)
        if response.HasField("control"):
            word = getattr(response.control, response.control.WhichOneof("control") or "", None)
        assert word is not None, "a response without a branch (R16)"
        if expected and not isinstance(word, expected):
            raise AssertionError(f"expected {names(expected)}, heard {names([type(word)])}: {word}")
        return word

    def hear_until(self, *terminators: type) -> tuple[list[bytes], Any]:
        """All data up to the first word of one of these types, and that word."""
        batches = []
        while isinstance(word := self.hear(DataResponse, *terminators), DataResponse):
            batches.append(word.data)
        return batches, word

    def open(self, request: UdfRequest) -> InitResponse:
        """Says Init and hears a good InitResponse (R4)."""
        self.say(request)
        answer = self.hear(InitResponse)
        assert not answer.HasField("error"), answer
        return answer

    def must_end(self) -> None:
        """After its terminator the worker says nothing more, and no gRPC error either (R13, R14)."""
        assert next(self.call, None) is None
        assert self.call.code() is grpc.StatusCode.OK, self.call.details()

    def failure(self) -> grpc.RpcError:
        """Reads on until gRPC itself ends the stream; its error (R14)."""
        try:
            for _ in self.call:
                pass
        except grpc.RpcError as error:
            return error
        raise AssertionError("the stream ended without a gRPC error")

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: Any) -> None:
        self.half_close()
        self.call.cancel()


def names(types: Any) -> str:
    return " or ".join(each.DESCRIPTOR.name for each in types) or "a word"
