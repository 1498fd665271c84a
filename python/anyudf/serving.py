"""A module as a worker: `serve` makes one of the functions in it.

    # my_functions.py
    import anyudf

    @anyudf.udf
    def fahrenheit(celsius: float) -> float:
        return celsius * 1.8 + 32.0

    if __name__ == "__main__":
        anyudf.serve()

An engine starts it as `python -m my_functions --id ID --connection WHERE`, and so do people:

    anyudf functions --worker "python -m my_functions"
"""

import atexit
import faulthandler
import io
import logging
import os
import signal
import socket
import stat
import sys
import threading
import types
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from anyudf import _calls, _native
from anyudf.functions import Function, udf

__all__ = ["serve"]


def serve(*functions: Any, arguments: Sequence[str] | None = None) -> NoReturn:
    """Serves functions to engines until told to stop, and ends the process.

    Without functions it serves all that the caller's module has. One that is no `Function` is made one by `anyudf.udf`; a
    module stands for all of its own.

    What functions print, and what they log, goes to standard error, each line with the worker's id and the execution it is
    of. The exit code is 0 after an orderly end, 2 when the command line makes no sense, and 1 when the worker can't listen.

    Args:
        functions: what to serve.
        arguments: the command line, without the program's name; that of the process without. `--help` lists it.
    """
    if not functions:
        caller = sys._getframe(1).f_globals
        served = _functions_in(caller.values())
        if not served:
            name = caller.get("__name__", "the caller")
            raise TypeError(f"there is no function to serve in {name}; decorate some with @anyudf.udf")
    else:
        served = []
        for function in functions:
            if isinstance(function, types.ModuleType):
                served += _functions_in(vars(function).values())
            else:
                served.append(function if isinstance(function, Function) else udf(function))
    names: set[str] = set()
    for function in served:
        for name in (function.name, *function.aliases):
            if name in names:
                raise TypeError(f"there are two functions called `{name}` to serve; give one of them another name=")
            names.add(name)
    run(served, [], None, arguments)


def _functions_in(values: Iterable[Any]) -> list[Function]:
    return list({id(value): value for value in values if isinstance(value, Function)}.values())


def run(functions: list[Function], formats: list[tuple[str, Any]], load: Any, arguments: Sequence[str] | None) -> NoReturn:
    """The process of a worker, to its end."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if "--help" not in arguments and "-h" not in arguments:
        _to_standard_error(option(arguments, "--id") or "worker")
        where = option(arguments, "--connection")
        os.register_at_fork(after_in_child=lambda: _be_no_worker(where))
    # The core hears both; what Python does at an interrupt is not for a worker.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Where functions can't read it, nor what they start (P9).
    token = os.environ.pop("ANYUDF_TOKEN", None)
    _end(_native.serve(functions, formats, load, arguments, token))


def option(arguments: Sequence[str], flag: str) -> str | None:
    """The value of a flag, as the core reads it: the last one counts."""
    found = None
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            found = arguments[place + 1]
        elif argument.startswith(f"{flag}="):
            found = argument[len(flag) + 1 :]
    return found


def _be_no_worker(where: str | None) -> None:
    """Makes an ordinary process of a child that a function has forked."""
    try:
        # The core's handlers are there and nobody acts on them: a pool could not end its children.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    except ValueError:
        pass
    _leave_sockets(where)


def _leave_sockets(where: str | None) -> None:
    """Closes the worker's sockets in a child that a function has forked: an engine sees that a worker is gone by their end,
    whoever still lives. The child has a copy of each, and no business with them."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except (OSError, ValueError):
        return
    for descriptor in descriptors:
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                name = copy.getsockname()
            here = str(name[1]) if isinstance(name, tuple) and len(name) > 1 else name
            if here == where:
                os.close(descriptor)
        except OSError:
            pass


def _end(code: int) -> NoReturn:
    """Ends the process, whatever threads it has. The native half has seen to it that this takes no longer than it may."""
    try:
        atexit._run_exitfuncs()
    except BaseException as error:
        print(f"anyudf: at the end: {error!r}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(code)


# ---- what functions print


def _to_standard_error(worker: str) -> None:
    """Points all that is printed at standard error, line by line, with who prints it."""
    faulthandler.enable()
    try:
        # What libraries in C print.
        os.dup2(2, 1)
    except OSError:
        pass
    lines = _Lines(worker)
    before = (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = lines
    _calls.flush_lines = lines.flush_here
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for handler in [handler for logger in loggers for handler in getattr(logger, "handlers", ())]:
        if isinstance(handler, logging.StreamHandler) and handler.stream in before:
            handler.setStream(lines)
    if not logging.root.handlers:
        logging.basicConfig(stream=lines, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


class _Lines(io.TextIOBase):
    """Standard error, a line at a time: those of two executions do not meet in one."""

    def __init__(self, worker: str):
        self._worker, self._begun = worker, threading.local()
        #: For bytes, which go as they are.
        self.buffer = open(2, "wb", buffering=0, closefd=False)

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        whole = getattr(self._begun, "text", "") + text
        lines, newline, rest = whole.rpartition("\n")
        # A line without an end is not kept for ever.
        if len(rest) > 1 << 16:
            lines, newline, rest = whole, "\n", ""
        self._begun.text = rest
        if newline:
            self._put(lines)
        return len(text)

    def flush(self) -> None:
        """Nothing: who prints a line without its end goes on."""

    def flush_here(self) -> None:
        """Prints what this thread has begun."""
        rest = getattr(self._begun, "text", "")
        if rest:
            self._begun.text = ""
            self._put(rest)

    def _put(self, lines: str) -> None:
        prefix = f"[{self._worker}{getattr(_calls.here, 'label', '')}] "
        text = "".join(f"{prefix}{line}\n" for line in lines.split("\n"))
        _write_all(text.encode("utf-8", "backslashreplace"))


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(2, view) :]
        except OSError:
            # Nobody reads, or the disk is full: what can't be logged is lost.
            return
