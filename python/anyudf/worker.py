"""A worker for any function: `python -m anyudf.worker`.

Functions come to it in payloads of the format `python/cloudpickle`, as `anyudf.pickled` has it; `Function.payload` makes one.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from anyudf._calls import Refused
from anyudf.pickled import load
from anyudf.serving import option, run

__all__ = ["load", "main"]


def main(arguments: list[str] | None = None) -> Any:
    """Serves until told to stop, and ends the process.

    Whoever may call runs what they like. So on a TCP port, which is open to everybody on the machine, ANYUDF_TOKEN must say
    who may, unless `--without-token` does not mind.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    where = option(arguments, "--connection") or ""
    if where.isdigit() and not os.environ.get("ANYUDF_TOKEN") and "--without-token" not in arguments:
        text = "this worker runs whatever it is sent, and a TCP port is open to everybody on this machine"
        print(f"error: {text}: set ANYUDF_TOKEN, listen on a socket's path, or add --without-token", file=sys.stderr)
        sys.exit(2)
    run([], list(FORMATS.items()), load, arguments)


# ---- the test functions, S1 to S6: formats over bytes, each a generator of what it makes of what comes


def _echo(payload: bytes) -> Any:
    if payload == b"INIT_ERROR":
        raise Refused("worker", "", "simulated init failure")  # S1

    def run(data: Iterator[bytes], last: dict[str, Any]) -> Iterator[bytes]:
        for each in data:
            if each == b"ERROR":
                raise Refused("user", "SimulatedError", "simulated user-code error")  # S2
            yield each
        last["metrics"] = {"status": "ok"}  # S3

    return run


def _generate(payload: bytes) -> Any:
    count = _decimal(payload)

    def run(data: Iterator[bytes], last: dict[str, Any]) -> Iterator[bytes]:
        for number in range(count):
            yield b"%d" % number  # S4
        for _ in data:
            raise Refused("user", "UNEXPECTED_INPUT", "echo/generate takes no input")
        last["metrics"] = {"status": "ok"}

    return run


def _sink(payload: bytes) -> Any:
    def run(data: Iterator[bytes], last: dict[str, Any]) -> Iterator[bytes]:
        last["data"] = b"%d" % sum(1 for _ in data)  # S5
        last["metrics"] = {"status": "ok"}
        return iter(())

    return run


def _slow(payload: bytes) -> Any:
    pause = _decimal(payload) / 1000

    def run(data: Iterator[bytes], last: dict[str, Any]) -> Iterator[bytes]:
        for each in data:
            time.sleep(pause)  # S6
            yield each
        last["metrics"] = {"status": "ok"}

    return run


def _hang(payload: bytes) -> Any:
    def run(data: Iterator[bytes], last: dict[str, Any]) -> Iterator[bytes]:
        for each in data:
            while True:
                # Not to be interrupted is the point of it: no bytecode runs.
                time.sleep(1e6)  # S6
            yield each
        last["metrics"] = {"status": "ok"}

    return run


def _decimal(payload: bytes) -> int:
    if not payload.strip().isdigit():
        raise Refused("protocol", "INVALID_PAYLOAD", "the payload must be a decimal number (S4, S6)")
    return int(payload)


FORMATS = {"echo": _echo, "echo/generate": _generate, "echo/sink": _sink, "echo/slow": _slow, "echo/hang": _hang}


if __name__ == "__main__":
    main()
