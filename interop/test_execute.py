"""One execution, as it goes when everybody keeps to the rules."""

import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from dialogue import Stream, cancel, chunk, data, finish, init, kind, text
from org.apache.spark.udf.worker.udf_message_pb2 import (
    CancelResponse,
    DataResponse,
    ErrorResponse,
    FinishResponse,
    InitResponse,
    UdfPayload,
)
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub
from process import PATIENCE, heartbeat


def test_r1_r4_r6_r10_r13_s1_one_batch_comes_back(stream):
    stream.open(init())
    stream.say(data(b"one"))
    assert stream.hear(DataResponse).data == b"one"
    stream.say(finish())
    stream.hear(FinishResponse)
    stream.must_end()


def test_r6_s1_three_batches_come_back_in_order(stream):
    """R6, R10: all output comes before FinishResponse."""
    stream.open(init())
    stream.say(data(b"one"), data(b""), data(b"three"), finish())
    batches, _ = stream.hear_until(FinishResponse)
    assert batches == [b"one", b"", b"three"]
    stream.must_end()


def test_r6_sending_and_receiving_from_two_threads(stream):
    """R6: nothing pairs requests with responses, so neither thread waits for the other."""
    batches = [number.to_bytes(4, "big") * (number % 2_000) for number in range(2_000)]

    def send():
        for batch in batches:
            stream.say(data(batch))
        stream.say(finish())

    stream.open(init())
    with ThreadPoolExecutor() as threads:
        sending = threads.submit(send)
        received, _ = stream.hear_until(FinishResponse)
        sending.result(PATIENCE)
    assert received == batches
    stream.must_end()


def test_r10_finish_right_after_init(stream):
    stream.open(init())
    stream.say(finish())
    stream.hear(FinishResponse)
    stream.must_end()


def test_c1_everything_at_once(stream):
    """C1: data and Finish may come while the worker still prepares InitResponse."""
    stream.say(init(), data(b"one"), data(b"two"), finish())
    stream.hear(InitResponse)
    batches, _ = stream.hear_until(FinishResponse)
    assert batches == [b"one", b"two"]
    stream.must_end()


def test_c6_half_close_after_finish(stream):
    """C6: output is drained all the same."""
    stream.open(init())
    stream.say(data(b"one"), finish())
    stream.half_close()
    assert stream.hear_until(FinishResponse)[0] == [b"one"]
    stream.must_end()


@pytest.mark.parametrize("announced", [False, True], ids=["plain", "size-and-crc"])
@pytest.mark.parametrize(
    ("inline", "chunks"),
    [
        (b"12", None),
        (b"", [b"12"]),
        (b"", [b"0", b"1", b"2"]),
        (b"1", [b"2"]),
        (b"1", [b"2", b""]),
        (b"12", [b""]),
    ],
    ids=["inline", "one-chunk", "three-chunks", "inline-and-chunk", "empty-last", "only-empty-last"],
)
def test_r2_r3_c5_s4_payload(stream, inline, chunks, announced):
    """R3: the payload is what came with Init and every chunk, in order. `echo/generate` shows what was assembled."""
    payload = b"".join([inline, *(chunks or [])])
    udf = UdfPayload(format="echo/generate", payload=inline)
    if announced:
        udf.payload_size, udf.payload_crc32 = len(payload), zlib.crc32(payload)
    stream.say(init(udf=udf, is_chunking_payload=chunks is not None))
    for index, piece in enumerate(chunks or []):
        stream.say(chunk(piece, last=index == len(chunks) - 1))
    assert not stream.hear(InitResponse).HasField("error")
    stream.say(finish())
    batches, _ = stream.hear_until(FinishResponse)
    assert batches == [b"%d" % number for number in range(12)]
    stream.must_end()


def test_r3_a_payload_of_many_chunks(stream):
    """R3: 8 MiB in chunks of 64 KiB, with size and checksum."""
    payload = b" " * (8 << 20) + b"3"
    udf = UdfPayload(format="echo/generate", payload_size=len(payload), payload_crc32=zlib.crc32(payload))
    stream.say(init(udf=udf, is_chunking_payload=True))
    pieces = [payload[start : start + (64 << 10)] for start in range(0, len(payload), 64 << 10)]
    stream.say(*(chunk(piece) for piece in pieces), chunk(b"", last=True))
    stream.hear(InitResponse)
    stream.say(finish())
    assert stream.hear_until(FinishResponse)[0] == [b"0", b"1", b"2"]
    stream.must_end()


def test_r6_s4_a_generator_answers_before_it_is_asked(stream):
    stream.open(init("echo/generate", b"3"))
    assert [stream.hear(DataResponse).data for _ in range(3)] == [b"0", b"1", b"2"]
    stream.say(finish())
    stream.hear(FinishResponse)
    stream.must_end()


def test_r6_r10_s5_a_sink_never_answers(stream):
    """R10, S5: its result is FinishResponse.data."""
    stream.open(init("echo/sink"))
    stream.say(data(b"a"), data(b"b"), data(b"c"), finish())
    assert stream.hear(FinishResponse).data == b"3"
    stream.must_end()


def test_s3_c8_metrics(stream):
    """C8, S3: the names of 4.3.0, as decimal text; rows are unknown to a function over bytes, so absent."""
    stream.open(init())
    stream.say(data(b"four"), data(b"five!"), finish())
    _, finished = stream.hear_until(FinishResponse)
    metrics = dict(finished.metrics)
    assert metrics.pop("status") == "ok"
    counted = {name: int(metrics.pop(name)) for name in ("bytes_in", "bytes_out", "batches_in", "batches_out")}
    assert counted == {"bytes_in": 9, "bytes_out": 9, "batches_in": 2, "batches_out": 2}
    assert {name.removesuffix("_nanos") for name in metrics} == {
        "init_wall",
        "processing_wall",
        "receive_wall",
        "send_wall",
        "work_wall",
        "work_cpu",
    }
    assert all(int(value) >= 0 for value in metrics.values())


def test_r17_r18_everything_in_init_is_taken(stream):
    """R17, R18: version 1 may be said; no key of the maps is an error; name and eval_type are free."""
    udf = UdfPayload(format="echo", name="ä function", eval_type="anything")
    stream.open(
        init(
            udf=udf,
            protocol_version=1,
            task_context={"partition": "7", "": "empty"},
            session_conf={"spark.sql.session.timeZone": "Europe/Paris", "anyudf.unheard_of": "?"},
            timezone="Europe/Paris",
            parameters=b"\x00\xff",
        )
    )
    stream.say(finish())
    stream.hear(FinishResponse)
    stream.must_end()


# Cancel: no gRPC error and no ExecutionError, whenever it comes (R9).


def cancelled(stream) -> None:
    """CancelResponse without an error, and the end."""
    _, answer = stream.hear_until(CancelResponse)
    assert not answer.HasField("error"), answer
    stream.must_end()


def test_r9_r12_cancel_before_finish(stream):
    stream.open(init())
    stream.say(data(b"one"))
    stream.hear(DataResponse)
    stream.say(cancel("no longer needed"))
    cancelled(stream)


def test_r9_r12_cancel_right_after_init(stream):
    stream.open(init())
    stream.say(cancel())
    cancelled(stream)


def test_r11_cancel_after_finish(stream):
    """R11: whichever terminator was first."""
    stream.open(init())
    stream.say(data(b"one"), finish(), cancel())
    _, answer = stream.hear_until(FinishResponse, CancelResponse)
    assert not answer.HasField("error"), answer
    stream.must_end()


def test_r9_r13_c3_cancel_before_init(stream):
    """R9, C3: CancelResponse is all there is."""
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def test_r9_c3_cancel_between_chunks(stream):
    stream.say(init(is_chunking_payload=True), chunk(b"one"), chunk(b"two"), cancel())
    answer = stream.hear(CancelResponse)
    assert not answer.HasField("error"), answer
    stream.must_end()


def test_c3_cancel_right_behind_init(stream):
    """C3: InitResponse may have been on its way already."""
    stream.say(init(), cancel())
    if isinstance(stream.hear(InitResponse, CancelResponse), InitResponse):
        cancelled(stream)
    stream.must_end()


def test_c4_after_cancel_nothing_is_read(stream):
    """C4: a second Cancel, and anything else, is dropped."""
    stream.open(init())
    stream.say(cancel(), cancel(), data(b"late"), init(), finish())
    cancelled(stream)


def test_r12_s4_cancel_stops_a_generator(stream):
    """R12: what the generator still had to send is not sent; the terminator comes."""
    stream.open(init("echo/generate", b"1000000000"))
    stream.hear(DataResponse)
    stream.say(cancel())
    cancelled(stream)


def test_r12_s6_cancel_waits_for_the_batch_at_hand(stream):
    """R12, S6: `echo/slow` looks between batches only. A thousand would take a hundred seconds; one is waited for."""
    stream.open(init("echo/slow", b"100"))
    stream.say(*[data(b"batch")] * 1_000)
    stream.hear(DataResponse)
    stream.say(cancel())
    cancelled(stream)


# Errors of the function.


def test_r7_r8_r14_s2_a_user_error_then_cancel_response(stream):
    stream.open(init())
    stream.say(data(b"before"), data(b"ERROR"))
    assert stream.hear(DataResponse).data == b"before"
    error = stream.hear(ErrorResponse).error
    assert kind(error) == "user"
    assert error.user.message == "simulated user-code error"
    assert error.user.error_class == "SimulatedError"
    stream.say(cancel("saw the error"))
    stream.hear(CancelResponse)
    stream.must_end()


def test_r7_r8_c2_data_after_an_error_is_dropped(stream):
    """C2: what was in flight is dropped; R8: CancelResponse is the terminator, also after Finish."""
    stream.open(init())
    stream.say(data(b"ERROR"), data(b"late"), data(b"ERROR"), finish())
    assert kind(stream.hear(ErrorResponse).error) == "user"
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def test_c2_an_error_without_cancel_ends_by_itself(stream):
    """C2: after Finish the worker waits for Cancel a second, and then says CancelResponse all the same."""
    stream.open(init())
    stream.say(data(b"ERROR"), finish())
    stream.hear(ErrorResponse)
    stream.hear(CancelResponse)
    stream.must_end()


def test_c2_half_close_after_an_error_is_not_waited_on(stream):
    stream.open(init())
    stream.say(data(b"ERROR"))
    stream.hear(ErrorResponse)
    stream.half_close()
    stream.hear(CancelResponse)
    stream.must_end()


@pytest.mark.parametrize("chunked", [False, True], ids=["inline", "chunked"])
def test_r4_r8_s1_init_failure(stream, chunked):
    """R4: the failure is in InitResponse; R8: the engine cancels, and CancelResponse ends it."""
    if chunked:
        stream.say(init(is_chunking_payload=True), chunk(b"INIT_"), chunk(b"ERR"), chunk(b"OR", last=True))
    else:
        stream.say(init(payload=b"INIT_ERROR"))
    answer = stream.hear(InitResponse)
    assert (kind(answer.error), text(answer.error)) == ("worker", "simulated init failure")
    stream.say(cancel())
    stream.hear(CancelResponse)
    stream.must_end()


def test_c11_c12_r14_s6_a_call_over_its_time(start):
    """C11: the function that hangs is given up, by name of phase and batch, while Manage and other sessions go on."""
    with start().channel() as channel, Stream(channel) as hanging, Stream(channel) as other:
        other.open(init())
        hanging.open(init("echo/hang", session_conf={"anyudf.call_timeout_ms": "50"}))
        hanging.say(data(b"one"))
        error = hanging.hear(ErrorResponse).error
        assert kind(error) == "user"
        assert error.user.error_class == "CALL_TIMEOUT"
        assert "process" in text(error)
        assert "batch 1" in text(error)
        assert heartbeat(UdfWorkerStub(channel))["calls_overdue"] == "1"
        other.say(data(b"going on"), finish())
        assert other.hear(DataResponse).data == b"going on"
        other.hear(FinishResponse)
        hanging.say(cancel())
        hanging.hear(CancelResponse)
        hanging.must_end()
