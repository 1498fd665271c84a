import os
import select
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

import anyudf


@pytest.fixture(scope="module")
def dispatcher():
    """The functions that come with anyudf."""
    with anyudf.Dispatcher() as dispatcher:
        yield dispatcher


@pytest.fixture(scope="module")
def python():
    """Functions of this interpreter."""
    with anyudf.Dispatcher(anyudf.python_worker()) as dispatcher:
        yield dispatcher


@pytest.fixture
def numbers():
    return pa.table({"n": pa.array([1, 2, None], pa.int64()), "s": ["a", None, "ccc"]})


class Script:
    """A program of Python's in a process of its own, which ends in time or is killed."""

    def __init__(self, text: str, *arguments: str):
        package = str(Path(anyudf.__file__).parent.parent)
        path = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", HEAD + textwrap.dedent(text), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
        )

    def line(self) -> str:
        """The next line that it prints."""
        return self.process.stdout.readline().decode().rstrip("\n")

    def say(self, text: str) -> None:
        self.process.stdin.write(f"{text}\n".encode())

    def end(self, seconds: float = 30.0) -> list[str]:
        """What it has printed, when it is done. It must not fail."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"still there after {seconds} s\n{out.decode()}\n{err.decode()}")
        out, err = out.decode(), err.decode()
        assert self.process.returncode == 0, f"exit status {self.process.returncode}\n{out}\n{err}"
        return out.splitlines()

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()


# What scripts need again and again.
HEAD = """
import os, signal, sys, threading, time
import pyarrow as pa
import anyudf

def pids(dispatcher):
    return [worker["pid"] for worker in dispatcher.stats()["workers"]]

def sleepy(x: int) -> int:
    while True:
        time.sleep(0.01)

def deaf(x: int) -> int:
    import ctypes
    ctypes.PyDLL(None).sleep(1000)  # keeps the GIL
    return x

def endless():
    while True:
        yield {"x": [1]}

"""


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process is gone, or goes in time."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], seconds)[0])
    finally:
        os.close(watched)
