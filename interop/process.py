"""A worker as a process: started as an engine starts it, asked until it answers, and ended."""

import os
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import grpc

from org.apache.spark.udf.worker.udf_message_pb2 import Heartbeat, ShutdownRequest, WorkerRequest
from org.apache.spark.udf.worker.udf_message_pb2_grpc import UdfWorkerStub

BINARY = os.environ["ANYUDF_BIN"]

# Seconds after which a test gives up waiting for anything. Far more than is ever needed: nothing is measured here.
PATIENCE = 30.0

HEARTBEAT = WorkerRequest(heartbeat=Heartbeat())


def heartbeat(stub: UdfWorkerStub) -> dict[str, str]:
    """The metrics of a heartbeat (M2, M6)."""
    response = stub.Manage(HEARTBEAT, timeout=PATIENCE)
    assert response.WhichOneof("manage") == "heartbeat"
    return dict(response.heartbeat.metrics)


def wait_for_active(stub: UdfWorkerStub, sessions: int) -> None:
    """Asks until that many executions are open."""
    give_up = time.monotonic() + PATIENCE
    while (active := heartbeat(stub)["sessions_active"]) != str(sessions):
        assert time.monotonic() < give_up, f"{active} executions are open after {PATIENCE} s, not {sessions}"


class Exited(Exception):
    """The process has ended although it should serve."""


@dataclass(frozen=True)
class Address:
    """A place to listen, as an engine tells it to the worker (P2), and as it tells it to gRPC."""

    connection: str
    target: str

    @property
    def file(self) -> Path | None:
        """The file of a Unix socket."""
        return None if self.connection.isdigit() else Path(self.connection)


def unix(path: str | Path) -> Address:
    """A Unix socket. What a path has and a URI has not is percent-encoded, as gRPC's naming rules demand."""
    return Address(str(path), "unix:" + quote(str(path)))


def tcp() -> Address:
    """A TCP port that is free on both loopbacks at this moment."""
    while True:
        with socket.socket(socket.AF_INET) as v4:
            v4.bind(("127.0.0.1", 0))
            port = v4.getsockname()[1]
            if not has_ipv6():
                return Address(str(port), f"localhost:{port}")
            with socket.socket(socket.AF_INET6) as v6:
                try:
                    v6.bind(("::1", port))
                except OSError:
                    continue
                return Address(str(port), f"localhost:{port}")


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as v6:
            v6.bind(("::1", 0))
    except OSError:
        return False
    return True


class Worker:
    """A running worker. Use it as a context: at the end it is asked to stop, and must."""

    def __init__(self, address: Address, *flags: str, environment: dict[str, str] | None = None):
        self.address = address
        # Appending, because the process and we share one position in it.
        self._log = tempfile.TemporaryFile("a+b")
        # Unknown flags are the worker's to ignore (P1); ours go before those that every engine adds.
        command = [BINARY, "worker", *flags, "--id", "1", "--connection", address.connection]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
        )

    def log(self) -> str:
        """What it has written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def channel(self, target: str | None = None) -> grpc.Channel:
        """A channel without any option."""
        return grpc.insecure_channel(target or self.address.target)

    def wait_until_it_answers(self) -> None:
        """Waits for the first answer, with whatever status (D6)."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            # A new channel each time: one whose first connection was refused waits a second before the next.
            with self.channel() as channel:
                try:
                    UdfWorkerStub(channel).Manage(HEARTBEAT, timeout=PATIENCE)
                    return
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        return
            try:
                status = self.process.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
            raise Exited(f"the worker exited with {status} before it answered:\n{self.log()}")
        raise TimeoutError(f"the worker did not answer within {PATIENCE} s:\n{self.log()}")

    def wait(self) -> int:
        """Waits for the end; the exit status."""
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the worker did not exit within {PATIENCE} s:\n{self.log()}") from None

    def must_end(self) -> None:
        """It exits with 0 and its socket is gone (M3, M4)."""
        assert self.wait() == 0, self.log()
        assert self.address.file is None or not self.address.file.exists()

    def shut_down(self, **request) -> None:
        """Asks it to stop, if it still runs, and waits until it has."""
        if self.process.poll() is None:
            with self.channel() as channel:
                UdfWorkerStub(channel).Manage(WorkerRequest(shutdown=ShutdownRequest(**request)), timeout=PATIENCE)
        self.must_end()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if error is None:
                self.shut_down()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            # Shown where a test has failed.
            print(self.log())
            self._log.close()


@contextmanager
def serving(transport: str, *flags: str, environment: dict[str, str] | None = None):
    """A worker that answers, over `unix` or `tcp`."""
    # Not pytest's directories: their paths may be longer than a socket's may be.
    with tempfile.TemporaryDirectory(prefix="anyudf-") as directory:
        attempts = 5
        while True:
            address = unix(Path(directory, "w.sock")) if transport == "unix" else tcp()
            worker = Worker(address, *flags, environment=environment)
            try:
                worker.wait_until_it_answers()
                break
            except Exited as error:
                attempts -= 1
                # Between our look and its start somebody else may take a port.
                if transport != "tcp" or attempts == 0 or "in use" not in str(error):
                    raise
            except BaseException:
                worker.process.kill()
                worker.process.wait()
                raise
        with worker:
            yield worker
