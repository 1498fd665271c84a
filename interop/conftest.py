"""What the tests are given: a worker for each transport, a channel without options, streams."""

from contextlib import ExitStack

import pytest

import process
from dialogue import Stream
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub
from process import Worker


@pytest.fixture(scope="session", params=["unix", "tcp"])
def transport(request) -> str:
    """The tests run once over a Unix socket and once over TCP."""
    return request.param


@pytest.fixture(scope="session")
def worker(transport):
    """A worker that many tests share. Whatever they did, nothing is left open or overdue at the end (M2)."""
    with process.serving(transport) as worker:
        yield worker
        with worker.channel() as channel:
            stub = UdfWorkerStub(channel)
            process.wait_for_active(stub, 0)
            assert process.heartbeat(stub)["calls_overdue"] == "0"


@pytest.fixture
def start(transport):
    """Starts workers of a test's own: `start("--max-sessions", "1")`."""
    with ExitStack() as workers:

        def start(*flags: str, **options) -> Worker:
            return workers.enter_context(process.serving(transport, *flags, **options))

        yield start


@pytest.fixture
def channel(worker):
    """A channel without any option (P8)."""
    with worker.channel() as channel:
        yield channel


@pytest.fixture
def stub(channel) -> UdfWorkerStub:
    return UdfWorkerStub(channel)


@pytest.fixture
def execute(channel):
    """Opens Execute streams on the shared worker: `execute()`, with gRPC's options for a call."""
    with ExitStack() as streams:
        yield lambda **options: streams.enter_context(Stream(channel, **options))


@pytest.fixture
def stream(execute) -> Stream:
    """One Execute stream on the shared worker."""
    return execute()
