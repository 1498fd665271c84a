"""How a worker ends: Shutdown, in both kinds, and SIGTERM."""

import signal

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from dialogue import Stream, cancel, chunk, data, finish, init, kind
from org.apache.spark.udf.worker.udf_message_pb2 import (
    CancelResponse,
    DataResponse,
    ErrorResponse,
    FinishResponse,
    InitResponse,
    ShutdownRequest,
    WorkerRequest,
)
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub
from process import PATIENCE, heartbeat


def shut_down(channel, **request) -> bool:
    """Asks a worker to stop; what it says about its sessions (M1)."""
    request = WorkerRequest(shutdown=ShutdownRequest(**request))
    answer = UdfWorkerStub(channel).Manage(request, timeout=PATIENCE)
    assert answer.WhichOneof("manage") == "shutdown"
    return answer.shutdown.sessions_settled


def test_m3_shutdown_of_an_idle_worker(start):
    """M3: answered, settled; it exits with 0 and removes its socket."""
    worker = start()
    with worker.channel() as channel:
        assert shut_down(channel, reason="the test is over") is True
    worker.must_end()


def test_m3_m5_r14_shutdown_lets_executions_end(start):
    """M3: one in flight goes on; new ones get UNAVAILABLE; health says so, and Manage stays up."""
    worker = start()
    with worker.channel() as channel, Stream(channel) as stream:
        health = HealthStub(channel)
        watched = health.Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watched).status == HealthCheckResponse.SERVING
        stream.open(init())

        assert shut_down(channel) is False
        assert next(watched).status == HealthCheckResponse.NOT_SERVING
        with Stream(channel) as late:
            late.say(init())
            assert late.failure().code() is grpc.StatusCode.UNAVAILABLE
        assert heartbeat(UdfWorkerStub(channel))["sessions_active"] == "1"

        stream.say(data(b"to the end"), finish())
        assert stream.hear(DataResponse).data == b"to the end"
        stream.hear(FinishResponse)
        stream.must_end()
    worker.must_end()


def test_m4_c7_shutdown_that_cancels(start):
    """M4: answered when each stream has its terminator. C7: what each hears depends on where it stood."""
    worker = start()
    with worker.channel() as channel:
        opened, chunking, failed, silent = (Stream(channel) for _ in range(4))
        opened.open(init())
        opened.say(data(b"one"))
        opened.hear(DataResponse)
        failed.open(init())
        failed.say(data(b"ERROR"))
        failed.hear(ErrorResponse)
        chunking.say(init(is_chunking_payload=True), chunk(b"half"))
        # Headers have come back, so it is there, and has not said anything.
        silent.call.initial_metadata()
        chunking.call.initial_metadata()

        assert shut_down(channel, cancel_sessions=True) is True

        assert kind(opened.hear(ErrorResponse).error) == "worker"
        assert kind(chunking.hear(InitResponse).error) == "worker"
        for stream in (opened, chunking, failed):
            stream.hear(CancelResponse)
            stream.must_end()
        assert kind(silent.hear(InitResponse).error) == "worker"
        silent.hear(CancelResponse)
    worker.must_end()


def test_m3_m4_a_later_request_hurries(start):
    """M3: a second Shutdown, with cancel_sessions, does not wait for the executions that the first one let go on."""
    worker = start()
    with worker.channel() as channel, Stream(channel) as stream:
        stream.open(init())
        assert shut_down(channel) is False
        assert shut_down(channel, cancel_sessions=True) is True
        assert kind(stream.hear(ErrorResponse).error) == "worker"
        stream.hear(CancelResponse)
        stream.must_end()
    worker.must_end()


def test_m4_s6_functions_that_hang_do_not_keep_it(start):
    """M4: user code that never returns is left behind."""
    worker = start()
    with worker.channel() as channel, Stream(channel) as stream:
        stream.open(init("echo/hang"))
        stream.say(data(b"one"))
        assert shut_down(channel, cancel_sessions=True) is True
        assert kind(stream.hear(ErrorResponse).error) == "worker"
        stream.hear(CancelResponse)
    worker.must_end()


def test_p3_sigterm(start):
    """P3: as Shutdown; an execution in flight ends normally within the grace."""
    worker = start("--grace", "60")
    with worker.channel() as channel, Stream(channel) as stream:
        stream.open(init())
        watched = HealthStub(channel).Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watched).status == HealthCheckResponse.SERVING
        worker.process.send_signal(signal.SIGTERM)
        assert next(watched).status == HealthCheckResponse.NOT_SERVING
        stream.say(data(b"to the end"), finish())
        assert stream.hear(DataResponse).data == b"to the end"
        stream.hear(FinishResponse)
        stream.must_end()
    worker.must_end()


def test_p3_c7_sigterm_after_the_grace(start):
    """P3: then the executions are ended as C7 says, and it exits with 0."""
    worker = start("--grace", "0.05")
    with worker.channel() as channel, Stream(channel) as stream:
        stream.open(init())
        worker.process.send_signal(signal.SIGTERM)
        assert kind(stream.hear(ErrorResponse).error) == "worker"
        stream.say(cancel())
        stream.hear(CancelResponse)
        stream.must_end()
    worker.must_end()
