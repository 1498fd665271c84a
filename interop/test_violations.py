"""An engine that does not keep to the rules, and bytes that are no messages."""

import grpc
import pytest

from dialogue import EXECUTE, Stream, cancel, chunk, data, finish, init, kind, text
from org.apache.spark.udf.worker.udf_message_pb2 import (
    CancelResponse,
    DataResponse,
    ErrorResponse,
    FinishResponse,
    InitResponse,
    UdfControlRequest,
    UdfPayload,
    UdfRequest,
    UdfResponse,
)
from process import PATIENCE, wait_for_active


def accused(error, rule: str) -> None:
    """A ProtocolError that names the rule."""
    assert kind(error) == "protocol", error
    assert f"({rule})" in text(error), text(error)


# In order, but not at this moment (R19, C2): error, CancelResponse, end; nobody waits for Cancel.


@pytest.mark.parametrize(
    ("word", "rule"),
    [
        (init(), "R1"),
        (chunk(b"late"), "R2"),
        (chunk(b"late", last=True), "R2"),
        (UdfRequest(), "R16"),
        (UdfRequest(control=UdfControlRequest()), "R16"),
    ],
    ids=["second-init", "chunk", "last-chunk", "empty-request", "empty-control"],
)
def test_r1_r2_r16_r19_out_of_place_in_the_data_phase(stream, word, rule):
    """R1, R2, R16: an ErrorResponse that names the rule (R19), then CancelResponse by itself (C2)."""
    stream.open(init())
    stream.say(data(b"one"))
    assert stream.hear(DataResponse).data == b"one"
    stream.say(word)
    accused(stream.hear(ErrorResponse).error, rule)
    stream.hear(CancelResponse)
    stream.must_end()


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ([data(b"x")], "R1"),
        ([finish()], "R1"),
        ([chunk(b"x", last=True)], "R1"),
        ([UdfRequest()], "R16"),
        ([init(is_chunking_payload=True), data(b"x")], "R5"),
        ([init(is_chunking_payload=True), chunk(b"x"), finish()], "R5"),
        ([init(is_chunking_payload=True), init()], "R1"),
        ([init(is_chunking_payload=True), chunk(b"")], "C5"),
    ],
    ids=[
        "data-first",
        "finish-first",
        "chunk-first",
        "empty-first",
        "data-between-chunks",
        "finish-between-chunks",
        "init-between-chunks",
        "empty-chunk",
    ],
)
def test_r1_r5_r16_r19_c1_c5_out_of_place_before_init_response(stream, words, rule):
    """R19: before InitResponse was sent it carries the error."""
    stream.say(*words)
    accused(stream.hear(InitResponse).error, rule)
    stream.hear(CancelResponse)
    stream.must_end()


def test_r5_r19_data_after_finish(stream):
    """R19: an ErrorResponse, if the function had not finished yet; after its terminator nothing is read (C4)."""
    stream.open(init("echo/slow", b"50"))
    stream.say(data(b"one"), finish(), data(b"late"))
    _, word = stream.hear_until(ErrorResponse, FinishResponse)
    if isinstance(word, ErrorResponse):
        accused(word.error, "R5")
        stream.hear(CancelResponse)
    stream.must_end()


def test_c6_r19_half_close_before_finish(stream):
    """C6: the engine went without a word; R19: CancelResponse carries the error."""
    stream.open(init())
    stream.half_close()
    accused(stream.hear(CancelResponse).error, "C6")
    stream.must_end()


def test_c6_half_close_before_init(stream):
    stream.half_close()
    accused(stream.hear(CancelResponse).error, "C6")
    stream.must_end()


# Init that can't be served: the error is in InitResponse, and waits for Cancel (C2).


@pytest.mark.parametrize(
    ("request_", "rule", "says"),
    [
        (init(protocol_version=2), "R17", "supported: 1"),
        (init(protocol_version=0), "R17", "supported: 1"),
        (init(protocol_version=2, data_format=77), "R17", "supported: 1"),
        (init(data_format=0), "R15", "ARROW"),
        (init(data_format=77), "R15", "ARROW"),
        (init(udf=None), "R18", "Init.udf"),
        (init(""), "R18", "format"),
        (init("unheard-of"), "R18", "echo/sink"),
        (init(udf=UdfPayload(format="echo", payload=b"abc", payload_size=4)), "R3", "4"),
        (init(udf=UdfPayload(format="echo", payload=b"abc", payload_size=-1)), "R3", "-1"),
        (init(udf=UdfPayload(format="echo", payload=b"abc", payload_crc32=7)), "R3", "CRC"),
    ],
    ids=[
        "version-2",
        "version-0",
        "version-first",
        "format-unspecified",
        "format-unknown",
        "no-udf",
        "no-payload-format",
        "unknown-payload-format",
        "size",
        "negative-size",
        "checksum",
    ],
)
def test_r3_r15_r17_r18_r19_bad_init(stream, request_, rule, says):
    """R3, R15, R17, R18: a ProtocolError in InitResponse that says what would do; C12: led by its condition."""
    stream.say(request_)
    error = stream.hear(InitResponse).error
    accused(error, rule)
    assert says in text(error)
    assert text(error).startswith("[")
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


@pytest.mark.parametrize("declared", [{"payload_size": 5}, {"payload_crc32": 7}, {"payload_size": 1 << 40}])
def test_r3_a_chunked_payload_that_does_not_match(stream, declared):
    """R3: checked on the assembled payload, and a claimed size allocates nothing."""
    udf = UdfPayload(format="echo", **declared)
    stream.say(init(udf=udf, is_chunking_payload=True), chunk(b"abc"), chunk(b"def", last=True))
    accused(stream.hear(InitResponse).error, "R3")
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def test_r4_c2_late_chunks_are_dropped(stream):
    """R4: the failure comes before the last chunk, and chunks on their way are no violation."""
    stream.say(init(protocol_version=9, is_chunking_payload=True))
    accused(stream.hear(InitResponse).error, "R17")
    stream.say(chunk(b"late"), chunk(b"later", last=True), cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def test_c11_a_call_timeout_that_is_no_number(stream):
    stream.say(init(session_conf={"anyudf.call_timeout_ms": "soon"}))
    error = stream.hear(InitResponse).error
    assert kind(error) == "protocol"
    assert "anyudf.call_timeout_ms" in text(error)
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


# Bytes.


def raw(channel, *messages: bytes):
    """Execute with messages as bytes, and half-close behind them."""
    call = channel.stream_stream(EXECUTE, lambda message: message, UdfResponse.FromString)
    return call(iter(messages), timeout=PATIENCE)


UNKNOWN_FIELD = b"\xfa\x7f\x05hello"  # Field 2047, length-delimited.


def test_r20_unknown_fields_are_ignored(channel):
    """R20: also within messages, and in whatever order."""
    opening = init()
    # An unknown field last, within each level, as a newer engine would send it.
    inner = opening.control.init.SerializeToString() + UNKNOWN_FIELD
    control = b"\x0a" + bytes([len(inner)]) + inner + UNKNOWN_FIELD
    first = UNKNOWN_FIELD + b"\x0a" + bytes([len(control)]) + control
    batch = UNKNOWN_FIELD + data(b"one").SerializeToString() + UNKNOWN_FIELD
    call = raw(channel, first, batch, finish().SerializeToString())
    words = [word.WhichOneof("response") for word in call]
    assert words == ["control", "data", "control"]
    assert call.code() is grpc.StatusCode.OK


def test_r16_an_unknown_branch_is_a_violation(channel):
    """R16: a request whose only branch is one that the worker does not know."""
    *before, last = (word.control for word in raw(channel, init().SerializeToString(), UNKNOWN_FIELD))
    # The violation may come while the function still opens, and then there is no good InitResponse (R19).
    accused(before[-1].init.error if before[-1].HasField("init") else before[-1].error.error, "R16")
    assert last.HasField("cancel")


@pytest.mark.parametrize("rubbish", [b"\xff\xff\xff\xff", b"\x0a\x7f", b"\x12\x05abc"])
def test_r14_bytes_that_are_no_message_are_internal(channel, rubbish):
    """R14: the transport's own trouble has a gRPC status."""
    with pytest.raises(grpc.RpcError) as failure:
        list(raw(channel, init().SerializeToString(), rubbish))
    assert failure.value.code() is grpc.StatusCode.INTERNAL


def test_r14_an_unknown_method_is_unimplemented(channel):
    call = channel.unary_unary("/org.apache.spark.udf.worker.UdfWorker/Explode")
    with pytest.raises(grpc.RpcError) as failure:
        call(b"", timeout=PATIENCE)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


# A broken stream equals Cancel (R14).


def test_r14_a_deadline(channel, stub):
    """R14: what the client's own deadline gives, and the execution is over at the worker, too."""
    wait_for_active(stub, 0)
    with Stream(channel, timeout=0.25) as stream:
        stream.say(init())
        assert stream.failure().code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for_active(stub, 0)


def test_r14_a_client_that_cancels(channel, stub):
    wait_for_active(stub, 0)
    with Stream(channel) as stream:
        stream.open(init("echo/generate", b"1000000000"))
        wait_for_active(stub, 1)
        stream.call.cancel()
        assert stream.failure().code() is grpc.StatusCode.CANCELLED
    wait_for_active(stub, 0)


def test_r14_a_client_that_is_gone(worker, stub):
    """R14: its connection is closed in the middle; the worker notices and goes on."""
    wait_for_active(stub, 0)
    # A connection of its own; channels of the same options share one.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(worker.address.target, options=alone) as channel:
        stream = Stream(channel)
        stream.open(init())
        wait_for_active(stub, 1)
    wait_for_active(stub, 0)
