"""What lies under the protocol: addresses, authorities, tokens, sizes, compression."""

import asyncio
import os
import stat
import tempfile
from contextlib import chdir
from pathlib import Path

import grpc
import pytest

import process
from dialogue import Stream, data, finish, init
from org.apache.spark.udf.worker.udf_message_pb2 import DataResponse, FinishResponse
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub
from process import HEARTBEAT, PATIENCE, Worker

# A message larger than what gRPC takes unless it is told otherwise (P7). Only receiving needs an option.
UNLIMITED = [("grpc.max_receive_message_length", -1)]


def echoes(channel: grpc.Channel, batch: bytes = b"one", **options) -> None:
    """One batch comes back."""
    with Stream(channel, **options) as stream:
        stream.open(init())
        stream.say(data(batch), finish())
        assert stream.hear(DataResponse).data == batch
        stream.hear(FinishResponse)
        stream.must_end()


# Where a worker listens, and how it is called.


@pytest.mark.parametrize(
    "name",
    ["plain", "two words", "50% off", "a+b=c&d", "[brackets]", "#hash?", "name@host:80", "größe-火", "tab\there"],
)
def test_p2_p8_any_path(name):
    """P8: the path is in `:authority`, percent-encoded, and on a channel without options nothing changes that."""
    with tempfile.TemporaryDirectory(prefix="anyudf-") as directory:
        address = process.unix(Path(directory, name))
        with Worker(address) as worker:
            worker.wait_until_it_answers()
            with worker.channel() as channel:
                echoes(channel)


def test_p2_p8_other_spellings_of_a_path():
    """P8: `unix:///absolute`, and relative paths on both sides."""
    with tempfile.TemporaryDirectory(prefix="anyudf-") as directory, chdir(directory):
        with Worker(process.unix("w.sock")) as worker:
            worker.wait_until_it_answers()
            for target in ["unix:w.sock", "unix:./w.sock", f"unix:{directory}/w.sock", f"unix://{directory}/w.sock"]:
                with worker.channel(target) as channel:
                    echoes(channel)


def test_p8_an_authority_of_the_clients_own(worker):
    """P8: any authority is accepted."""
    for authority in ["localhost", "%2Ftmp%2Fother.sock", "example.org:443"]:
        options = [("grpc.default_authority", authority)]
        with grpc.insecure_channel(worker.address.target, options=options) as channel:
            echoes(channel)


def test_p2_both_loopbacks():
    """P2: a port is bound on 127.0.0.1 and on [::1]."""
    with process.serving("tcp") as worker:
        targets = ["127.0.0.1:{}", "localhost:{}", "ipv4:127.0.0.1:{}"]
        if process.has_ipv6():
            targets += ["[::1]:{}", "ipv6:[::1]:{}"]
        for target in targets:
            with worker.channel(target.format(worker.address.connection)) as channel:
                echoes(channel)


def test_p1_unknown_flags(start):
    """P1: with and without a value, and wherever they stand."""
    with start("--unheard-of", "--level=3", "--colour", "blue", "stray", "-v", "--id", "0").channel() as channel:
        echoes(channel)


def test_p6_a_stale_socket_is_replaced_and_a_live_one_is_not():
    """P6: the second worker says that somebody lives there; after a crash the file is no obstacle."""
    with tempfile.TemporaryDirectory(prefix="anyudf-") as directory:
        address = process.unix(Path(directory, "w.sock"))
        first = Worker(address)
        try:
            first.wait_until_it_answers()
            second = Worker(address)
            assert second.wait() == 1
            assert address.connection in second.log()
            with first.channel() as channel:
                echoes(channel)
        finally:
            first.process.kill()
            first.wait()
        assert address.file.exists()
        with Worker(address) as third:
            third.wait_until_it_answers()


def test_p9_a_sockets_mode():
    """P9: only its owner may open it."""
    with process.serving("unix") as worker:
        assert stat.S_IMODE(worker.address.file.stat().st_mode) == 0o600


def test_p9_r14_a_token(start):
    """P9: with ANYUDF_TOKEN set, no call is served without it, neither Execute nor Manage."""
    worker = start(environment={"ANYUDF_TOKEN": "a secret"})
    right, wrong = (("anyudf-token", "a secret"),), (("anyudf-token", "a guess"),)
    with worker.channel() as channel:
        stub = UdfWorkerStub(channel)
        for metadata in [None, wrong]:
            with pytest.raises(grpc.RpcError) as failure:
                stub.Manage(HEARTBEAT, timeout=PATIENCE, metadata=metadata)
            assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with Stream(channel, metadata=metadata) as stream:
                stream.say(init())
                refusal = stream.failure()
            assert refusal.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "a secret" not in refusal.details()
        stub.Manage(HEARTBEAT, timeout=PATIENCE, metadata=right)
        echoes(channel, metadata=right)
        # The context's own Shutdown would be refused as well.
        worker.process.terminate()
        worker.must_end()


def test_p9_a_token_nobody_asked_for(channel):
    """P9: without the variable it is the plain protocol."""
    echoes(channel, metadata=(("anyudf-token", "a secret"), ("x-other", "metadata")))


def test_p8_the_asynchronous_client(worker):
    """The other client of the same package, with a channel without options too."""

    async def converse():
        async with grpc.aio.insecure_channel(worker.address.target) as channel:
            call = UdfWorkerStub(channel).Execute(timeout=PATIENCE)
            await call.write(init())
            assert (await call.read()).control.HasField("init")
            for number in range(100):
                await call.write(data(b"%d" % number))
                assert (await call.read()).data.data == b"%d" % number
            await call.write(finish())
            await call.done_writing()
            assert (await call.read()).control.HasField("finish")
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(converse())


# Sizes.


@pytest.mark.parametrize("mebibytes", [5, 100])
def test_p7_a_large_message_in(stream, mebibytes):
    """P7: a channel without options sends what it likes; the worker takes up to 128 MiB."""
    stream.open(init("echo/sink"))
    stream.say(data(bytes(mebibytes << 20)), finish())
    finished = stream.hear(FinishResponse)
    assert (finished.data, finished.metrics["bytes_in"]) == (b"1", str(mebibytes << 20))


@pytest.mark.parametrize("mebibytes", [5, 100])
def test_p7_a_large_message_out(worker, mebibytes):
    """P7: with the option for receiving, there and back."""
    with grpc.insecure_channel(worker.address.target, options=UNLIMITED) as channel:
        echoes(channel, os.urandom(1 << 20) * mebibytes)


def test_p7_r14_a_message_over_the_limit(start):
    """R14: RESOURCE_EXHAUSTED, and the worker serves on."""
    worker = start("--max-message-bytes", "1MiB")
    with worker.channel() as channel:
        with Stream(channel) as stream:
            stream.open(init())
            stream.say(data(bytes(2 << 20)))
            assert stream.failure().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        echoes(channel)


def test_r6_more_than_all_windows_hold(stream):
    """R6: the client says everything, 64 MiB, before it reads anything, and nobody waits for ever."""
    stream.open(init())
    batch = os.urandom(1 << 20)
    stream.say(*[data(batch)] * 64, finish())
    batches, _ = stream.hear_until(FinishResponse)
    assert batches == [batch] * 64


# Compression.


def test_p11_gzip(channel):
    """P11: small messages, which clients leave as they are, and large ones, compressed."""
    with Stream(channel, compression=grpc.Compression.Gzip) as stream:
        stream.open(init())
        batches = [b"x", b"compressible " * 100_000, os.urandom(100_000)]
        stream.say(*map(data, batches), finish())
        assert stream.hear_until(FinishResponse)[0] == batches
        stream.must_end()


def test_p7_p11_gzip_that_unfolds_beyond_the_limit(start):
    """P7: the limit is for the message, not for what it was squeezed into."""
    with start("--max-message-bytes", "1MiB").channel() as channel:
        options = {"compression": grpc.Compression.Gzip}
        with Stream(channel, **options) as stream:
            stream.open(init())
            stream.say(data(bytes(32 << 20)))
            assert stream.failure().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        echoes(channel, **options)


def test_p11_r14_other_encodings_are_unimplemented(channel):
    with Stream(channel, compression=grpc.Compression.Deflate) as stream:
        stream.say(init(payload=b"compressible " * 1_000))
        assert stream.failure().code() is grpc.StatusCode.UNIMPLEMENTED
