"""Sessions in workers: start processes that serve functions, send them batches, get batches back.

>>> import pyarrow as pa
>>> with Dispatcher() as dispatcher:  # the functions that come with anyudf
...     with dispatcher.session("echo_batches") as session:
...         for batch in session.process(pa.table({"n": [1, 2, 3]})):
...             print(batch.num_rows)
3
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from anyudf import _native, aio
from anyudf._native import FunctionInfo
from anyudf.catalogs import Catalog
from anyudf.commands import bundled, named, paths, python_worker
from anyudf.errors import MisuseError
from anyudf.payloads import Payload, called
from anyudf.sessions import Results, Session
from anyudf.settings import Settings, refuse_unknown
from anyudf.sources import schema_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Catalog", "Dispatcher", "FunctionInfo", "Payload", "Results", "Session", "bundled", "python_worker"]

# How long the dispatchers that are left at the end of the process get to end their workers in order, and calls to come back.
_FAREWELL = 3.0

_all: weakref.WeakSet[Dispatcher] = weakref.WeakSet()


class Dispatcher:
    """Gives sessions in workers of one kind: starts them when they are needed, reuses, watches and ends them.

    `worker` is what starts one: a command as a list of words; a command line; the path of a worker specification, whose name
    ends in .json; the specification itself as a dict; or None, for the functions that come with anyudf. `python_worker()` is
    the one for functions of this interpreter. `environment` has variables for the process beside those of this one.

    The keywords bound it. Times are in seconds. `max_workers` (8) is how many processes there are at most, `min_idle` (0) how
    many are kept ready, `idle_timeout` (60) how long others may be idle; `wait_timeout` (60) is how long a session waits for a
    worker; `memory_limit` is in bytes, of resident memory; `idle_limit` is how long a worker whose turn it is may be silent;
    `start_timeout` (10) how long it may take to answer. `anyudf.settings.Settings` has all of them.

    Any number of threads may use it. It belongs to the process that made it: in a forked child, make another. It ends with its
    `with` block, with `close`, when nobody has it any more, or with the process; and all its workers with it.

    >>> with Dispatcher(max_workers=1) as dispatcher:
    ...     dispatcher.stats()["starts"]
    0
    """

    def __init__(
        self,
        worker: str | os.PathLike[str] | Sequence[str] | Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        **config: Unpack[Settings],
    ) -> None:
        refuse_unknown(config)
        started_by = named(worker)
        if started_by == python_worker():
            environment = {"PYTHONPATH": paths(), **(environment or {})}
            # One interpreter works on one thing at a time.
            config.setdefault("sessions_per_worker", 1)
        self._native = _native.Dispatcher(started_by, list((environment or {}).items()), dict(config))
        self._catalog: Catalog | None = None
        _all.add(self)
        _end_with_process()

    def session(
        self,
        function: Any,
        *,
        args: Sequence[str | int] | None = None,
        input_schema: pa.Schema | None = None,
        output_schema: pa.Schema | None = None,
        options: Mapping[str, Any] | None = None,
        scope: str | bytes | None = None,
        timeout: float | None = None,
        timezone: str | None = None,
        task_context: Mapping[str, str] | None = None,
        session_conf: Mapping[str, str] | None = None,
    ) -> Session:
        """An execution of one function: its name, a `Payload`, or a Python function.

        A worker is waited for, and the function opened, when the first batch is there, or at once when `input_schema` is given.
        `args` are the columns that are its arguments, by name or place; without it, all are. They are cast to what the worker's
        catalogue says, as in SQL: numbers widen, text of any layout is text, nothing is narrowed.

        `timeout` is how many seconds each call into the function may take. A worker serves one `scope` in its life.
        `task_context` and `session_conf` reach the function.
        """
        if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < 1e9):
            raise MisuseError(f"timeout is {timeout!r}, it must be a number of seconds", condition="INVALID_TIMEOUT")
        if isinstance(args, str):
            raise MisuseError(f"args is a text, {args!r}; write [{args!r}] for one column", condition="INVALID_ARGS")
        call = called(function, options)
        said = {
            "format": call.format,
            "payload": call.payload,
            "name": call.name,
            "eval_type": call.function.kind if call.function else None,
            "output_schema": None if output_schema is None else schema_of(output_schema),
            "scope": scope.encode() if isinstance(scope, str) else scope,
            "timeout": timeout,
            "timezone": timezone,
            "task_context": dict(task_context or {}),
            "session_conf": dict(session_conf or {}),
            "parameters": None,
        }
        session = Session(self, self._native.session(said), call, None if args is None else list(args))
        if input_schema is not None:
            session.open(input_schema)
        return session

    def catalog(self) -> Catalog | None:
        """What its workers offer. None where they do not tell, as workers do that never heard of catalogues."""
        if self._catalog is None:
            self._keep(self._native.catalog())
        return self._catalog

    async def catalog_async(self) -> Catalog | None:
        """The same in an event loop."""
        if self._catalog is None:
            self._keep(await aio.call(self._native.begin_catalog))
        return self._catalog

    def _keep(self, told: tuple[list[FunctionInfo], set[str]] | None) -> None:
        self._catalog = None if told is None else Catalog(*told)

    def stats(self) -> dict[str, Any] | None:
        """How things stand: workers, sessions, callers that wait, and what there was so far. None when it is closed."""
        return self._native.stats()

    def close(self) -> None:
        """Ends everything: no new sessions, live ones are cancelled, all workers end. Twice is harmless."""
        if self._native.is_here:
            self._native.close()

    async def close_async(self) -> None:
        """The same in an event loop."""
        if self._native.is_here:
            await aio.call(self._native.begin_close)

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Dispatcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_async()


def _end_all() -> None:
    """Ends what is left, so that no process outlives this one, and this one is not kept by a function that hangs."""
    _native.end_all([one._native for one in list(_all) if one._native.is_here], _FAREWELL)


def _forked() -> None:
    """In a forked child: nothing of the parent's is ended here."""
    global _all
    _all = weakref.WeakSet()
    _native.forked()


def _end_with_process() -> None:
    """A child of multiprocessing ends without the interpreter's own ways, but with its module's.

    Nobody else ends with the module's: it may have them done before what the user registered with `atexit`.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    if _ended_by.get("multiprocessing") != os.getpid():
        _ended_by["multiprocessing"] = os.getpid()
        sys.modules["multiprocessing.util"].Finalize(None, _end_all, exitpriority=0)


_ended_by: dict[str, int] = {}
atexit.register(_end_all)
os.register_at_fork(after_in_child=_forked)
