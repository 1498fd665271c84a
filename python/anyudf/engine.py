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
import json
import os
import shlex
import shutil
import sys
import sysconfig
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa

from anyudf import _native, aio
from anyudf._native import FunctionInfo
from anyudf.errors import MisuseError
from anyudf.functions import Function, udf
from anyudf.sources import Source

__all__ = ["Catalog", "Dispatcher", "FunctionInfo", "Payload", "Results", "Session", "bundled", "python_worker"]

# How long the dispatchers that are left at the end of the process get to end their workers in order.
_FAREWELL = 3.0

_all: weakref.WeakSet[Dispatcher] = weakref.WeakSet()


class Payload(NamedTuple):
    """A function in a payload format of its worker's own, where a function's name does not do.

    >>> Payload("echo", b"").format
    'echo'
    """

    format: str
    payload: bytes
    name: str = "function"


class Catalog(Mapping[str, FunctionInfo]):
    """The functions of a worker, by name or alias, in the worker's order; and the payload formats that it takes.

    >>> with Dispatcher() as dispatcher:
    ...     catalog = dispatcher.catalog()
    >>> catalog["explode_words"].kind, "function" in catalog.formats
    ('map', True)
    """

    def __init__(self, functions: Iterable[FunctionInfo], formats: Iterable[str]) -> None:
        self.functions = list(functions)
        self.formats = frozenset(formats)
        self._known = {alias: one for one in reversed(self.functions) for alias in one.aliases}
        self._known.update((one.name, one) for one in reversed(self.functions))

    def __getitem__(self, name: str) -> FunctionInfo:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return (function.name for function in self.functions)

    def __len__(self) -> int:
        return len(self.functions)

    def __repr__(self) -> str:
        return f"Catalog({self.functions!r})"


class Dispatcher:
    """Gives sessions in workers of one kind: starts them when they are needed, reuses, watches and ends them.

    `worker` is what starts one: a command as a list of words; a command line; the path of a worker specification, whose name
    ends in .json; the specification itself as a dict; or None, for the functions that come with anyudf. `python_worker()` is
    the one for functions of this interpreter. `environment` has variables for the process beside those of this one.

    The keywords bound it. Times are in seconds. `max_workers` (8) is how many processes there are at most, `min_idle` (0) how
    many are kept ready, `idle_timeout` (60) how long others may be idle; `wait_timeout` (60) is how long a session waits for a
    worker; `memory_limit` is in bytes, of resident memory; `idle_limit` is how long a worker whose turn it is may be silent;
    `start_timeout` (10) how long it may take to answer. All of them, and what they are without a word, are those of the
    engine's PoolConfig, SessionConfig and LaunchConfig.

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
        **config: Any,
    ) -> None:
        named = _named(worker)
        if named == python_worker():
            environment = {"PYTHONPATH": _path(), **(environment or {})}
            # One interpreter works on one thing at a time.
            config.setdefault("sessions_per_worker", 1)
        self._native = _native.Dispatcher(named, list((environment or {}).items()), config)
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
        called = _called(function, options)
        said = {
            "format": called.format,
            "payload": called.payload,
            "name": called.name,
            "eval_type": called.function.kind if called.function else None,
            "output_schema": output_schema,
            "scope": scope.encode() if isinstance(scope, str) else scope,
            "timeout": timeout,
            "timezone": timezone,
            "task_context": dict(task_context or {}),
            "session_conf": dict(session_conf or {}),
            "parameters": None,
        }
        session = Session(self, self._native.session(said), called, None if args is None else list(args))
        if input_schema is not None:
            session.open(input_schema)
        return session

    def catalog(self) -> Catalog | None:
        """What its workers offer. None where they do not tell, as workers do that never heard of catalogues."""
        if self._catalog is None:
            self._catalog = _catalog(self._native.catalog())
        return self._catalog

    async def catalog_async(self) -> Catalog | None:
        """The same in an event loop."""
        if self._catalog is None:
            self._catalog = _catalog(await aio.call(self._native.begin_catalog))
        return self._catalog

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


class Session:
    """One execution of one function. `Dispatcher.session` makes it.

    `process` is all that most need. `open`, `send`, `finish` and `next` are the same in parts: any thread may call any of them,
    and the two directions are independent.

    >>> import pyarrow as pa
    >>> with Dispatcher() as dispatcher, dispatcher.session("count_rows") as session:
    ...     session.open(pa.schema({"n": pa.int64()}))
    ...     session.send(pa.record_batch({"n": [1, 2, 3]}))
    ...     session.finish()
    ...     session.next(), session.data
    (None, b'3')
    """

    def __init__(
        self, dispatcher: Dispatcher, native: _native.Session, called: _Called, args: list[str | int] | None
    ) -> None:
        self._dispatcher = dispatcher
        self._native = native
        self._called = called
        self._args = args
        self._processed = False

    @property
    def function(self) -> FunctionInfo | None:
        """What is known of the function, once it is open."""
        return self._called.function

    def open(self, input_schema: pa.Schema) -> None:
        """Waits for a worker and opens the function for batches of this schema."""
        self._look_up()
        self._native.open(*self._plan(input_schema))

    async def open_async(self, input_schema: pa.Schema) -> None:
        """The same in an event loop."""
        await self._look_up_async()
        with self._cancelling():
            await aio.call(self._native.begin_open, *self._plan(input_schema))

    def process(self, batches: Any = None) -> Results:
        """What comes back for these batches, as it comes: to be iterated, with `for` or `async for`.

        `batches` is anything that speaks Arrow, or an iterable of such; it is read as the worker takes it, on the thread that
        iterates. None is no input, for functions that make their own rows. What the iterable raises cancels the execution and
        comes out as it is. Whoever stops iterating cancels.
        """
        if self._processed:
            raise MisuseError("process was called before (E2); make another session", condition="PROCESS_TWICE")
        self._processed = True
        return Results(self, batches)

    def send(self, batch: Any) -> None:
        """Sends one batch; waits while the worker is slow."""
        self._native.send(batch)

    async def send_async(self, batch: Any) -> None:
        """The same in an event loop."""
        with self._cancelling():
            await aio.call(self._native.begin_send, batch)

    def finish(self) -> None:
        """Says that there is no more input."""
        self._native.finish()

    async def finish_async(self) -> None:
        """The same in an event loop."""
        with self._cancelling():
            await aio.call(self._native.begin_finish)

    def next(self) -> pa.RecordBatch | None:
        """The next batch; None when the worker has finished."""
        return self._native.next()

    async def next_async(self) -> pa.RecordBatch | None:
        """The same in an event loop."""
        with self._cancelling():
            return await aio.call(self._native.begin_next)

    def cancel(self, reason: str = "cancelled by the caller") -> None:
        """Cancels the execution, from any thread, and does not wait. A no-op after its end."""
        self._native.cancel(reason)

    def close(self) -> None:
        """Ends the session if it has not ended, and waits for that. Twice is harmless."""
        self._native.close()

    async def close_async(self) -> None:
        """The same in an event loop."""
        await aio.call(self._native.begin_close)

    def progress(self) -> dict[str, Any] | None:
        """What moved so far, in rows, messages and bytes. None before it is open."""
        return self._native.progress()

    @property
    def input_schema(self) -> pa.Schema | None:
        """What goes in: the arguments, cast. None before it is open."""
        schemas = self._native.schemas
        return schemas[0] if schemas else None

    @property
    def output_schema(self) -> pa.Schema | None:
        """What comes out. None before it is open."""
        schemas = self._native.schemas
        return schemas[1] if schemas else None

    @property
    def metrics(self) -> dict[str, Any]:
        """What worker and function have counted. Empty before the end."""
        termination = self._native.termination
        return termination["metrics"] if termination else {}

    @property
    def data(self) -> bytes | None:
        """The function's last word, such as a sink's result."""
        termination = self._native.termination
        return termination["data"] if termination else None

    @property
    def ended(self) -> str | None:
        """How it ended: finished, cancelled, failed, transport failed or interrupted. None while it has not."""
        termination = self._native.termination
        return termination["how"] if termination else None

    def _look_up(self) -> None:
        """Finds out what is known of the function."""
        if self._called.is_named and self._called.function is None:
            self._find(self._dispatcher.catalog())

    async def _look_up_async(self) -> None:
        if self._called.is_named and self._called.function is None:
            self._find(await self._dispatcher.catalog_async())

    def _find(self, catalog: Catalog | None) -> None:
        # Of a name that is not there the worker says what is like it.
        self._called = self._called._replace(function=catalog.get(self._called.name) if catalog else None)

    def _plan(self, schema: pa.Schema) -> tuple[Any, ...]:
        return schema, self._called.name, self._called.function, self._args

    def _schema(self, known: pa.Schema | None, batches: Any) -> pa.Schema:
        """The schema to open it with, when this is known of the input."""
        if known is None and batches is None:
            return pa.schema([])
        if known is None and self._called.function and self._args is None:
            known = self._called.function.arguments
        if known is None:
            raise MisuseError("there is no batch to tell the schema; give input_schema", condition="NO_INPUT_SCHEMA")
        return known

    def _cancelling(self) -> _Cancelling:
        return _Cancelling(self)

    def _failed(self, kind: type[BaseException] | None) -> None:
        if kind is None or self.ended is not None:
            return
        if issubclass(kind, Exception):
            self.cancel(f"the caller failed: {kind.__name__}")
        else:  # Ctrl-C (E13)
            self._native.interrupt()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._failed(kind)
        self.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None and self.ended is None:
            self.cancel(f"the caller failed: {kind.__name__}")
        await self.close_async()


class Results:
    """What comes back, batch for batch: an iterable for `for` and for `async for`, and a stream for whoever speaks Arrow.

    >>> import pyarrow as pa
    >>> with Dispatcher() as dispatcher, dispatcher.session("generate_series", options={"start": 1, "stop": 3}) as session:
    ...     session.process().read_all()["value"].to_pylist()
    [1, 2, 3]
    """

    def __init__(self, session: Session, batches: Any) -> None:
        self._session = session
        self._given = batches
        # Is told of rows that go in.
        self._told: Callable[[int], None] | None = None
        self._source: Source | None = None
        self._exchange: Iterator[pa.RecordBatch] | None = None

    @property
    def schema(self) -> pa.Schema:
        """What comes out. Opens the function, which takes a first batch where nothing else tells the input's schema."""
        self._open()
        schema = self._session.output_schema
        assert schema is not None, "it is open"
        return schema

    def read_all(self) -> pa.Table:
        """All of it, as a table."""
        schema = self.schema
        return pa.Table.from_batches(self, schema)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._exchange is not None:
            raise MisuseError("the results were iterated before, and come once", condition="PROCESS_TWICE")
        exchange = self._session._native.exchange(self._open())
        # Not kept: it ends the execution when whoever iterates lets go of it.
        self._exchange = _gone
        return exchange

    def __next__(self) -> pa.RecordBatch:
        if self._exchange is None:
            self._exchange = iter(self)
        return next(self._exchange)

    def __aiter__(self) -> AsyncIterator[pa.RecordBatch]:
        return aio.exchange(self._session, self._given, self._told)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        reader = pa.RecordBatchReader.from_batches(self.schema, iter(self))
        return reader.__arrow_c_stream__(requested_schema)

    def _open(self) -> Source:
        if self._source is None:
            self._source = Source(() if self._given is None else self._given, self._told)
            if self._session.input_schema is None:
                self._session._look_up()
                self._session.open(self._session._schema(self._source.peek(), self._given))
        return self._source


_gone: Iterator[pa.RecordBatch] = iter(())


class _Cancelling:
    """Whoever is cancelled while it waits cancels the execution."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, (aio.asyncio.CancelledError, GeneratorExit)):
            self._session.cancel("the caller was cancelled")


class _Called(NamedTuple):
    """How a function is called on the wire, and what is known of it."""

    format: str
    payload: bytes
    name: str
    function: FunctionInfo | None
    is_named: bool


def _called(function: Any, options: Mapping[str, Any] | None) -> _Called:
    if isinstance(function, str):
        said: dict[str, Any] = {"function": function}
        if options:
            said["options"] = dict(options)
        return _Called("function", json.dumps(said).encode(), function, None, True)
    if isinstance(function, Payload):
        if options:
            raise MisuseError("a Payload has its options in it", condition="OPTIONS_IN_PAYLOAD")
        return _Called(function.format, function.payload, function.name, None, False)
    if not callable(function):
        raise MisuseError(f"{function!r} is no function, and no name of one", condition="NO_FUNCTION")
    made = function if isinstance(function, Function) else udf(function)
    if options:
        made = made.with_options(**options)
    return _Called("python/cloudpickle", made.payload(), made.name, FunctionInfo(**made._entry()), False)


def _catalog(told: tuple[list[FunctionInfo], set[str]] | None) -> Catalog | None:
    return None if told is None else Catalog(*told)


def bundled() -> list[str]:
    """The command of the worker that comes with anyudf.

    >>> bundled()[1:]
    ['worker']
    """
    places = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    for place in places:
        if os.access(place / "anyudf", os.X_OK):
            return [str(place / "anyudf"), "worker"]
    program = _recorded() or shutil.which("anyudf")
    if program is None:
        raise MisuseError(
            f"the program `anyudf`, which serves the functions that come with it, is neither in {places[0]} nor on PATH; "
            "install the package anyudf for this interpreter, or say which worker is meant",
            condition="PROGRAM_NOT_FOUND",
        )
    return [program, "worker"]


def _recorded() -> str | None:
    """Where the installer has put the program, as it wrote down."""
    from importlib import metadata

    try:
        files = metadata.files("anyudf") or []
    except metadata.PackageNotFoundError:
        return None
    places = (file.locate() for file in files if file.name == "anyudf" and file.parent.name in ("bin", "Scripts"))
    return next((str(place.resolve()) for place in map(Path, places) if os.access(place, os.X_OK)), None)


def python_worker() -> list[str]:
    """The command of the worker that runs functions of this interpreter, which travel to it pickled.

    >>> python_worker()[1:]
    ['-m', 'anyudf.worker']
    """
    return [sys.executable, "-m", "anyudf.worker"]


def _path() -> str:
    """Where modules are found here: functions may name what is in them."""
    return os.pathsep.join(os.path.abspath(place) for place in sys.path if not place.endswith(".zip"))


def _named(worker: Any) -> list[str] | str:
    """A command, or the text of a specification."""
    if worker is None:
        return bundled()
    if isinstance(worker, Mapping):
        return json.dumps(worker)
    if hasattr(worker, "to_json"):
        return str(worker.to_json())
    if isinstance(worker, os.PathLike):
        return _read(worker)
    if isinstance(worker, str):
        try:
            words = [worker] if worker.endswith(".json") and Path(worker).is_file() else shlex.split(worker)
        except ValueError:
            text = "the worker's command line has a quote that is not closed, or ends in a backslash"
            raise MisuseError(text, condition="INVALID_WORKER_COMMAND") from None
        if len(words) == 1 and words[0].endswith(".json"):
            return _read(words[0])
        return words
    return [os.fspath(word) for word in worker]


def _read(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        text = f"can't read the worker specification {os.fspath(path)!r}: {error}"
        raise MisuseError(text, condition="SPECIFICATION_NOT_READ") from error


def _end_all() -> None:
    """Ends what is left, so that no process outlives this one, and this one is not kept by a function that hangs."""
    _native.end_all([one._native for one in list(_all) if one._native.is_here], _FAREWELL)


def _forked() -> None:
    """In a forked child: nothing of the parent's is ended here."""
    global _all
    _all = weakref.WeakSet()
    _native.forked()


def _end_with_process() -> None:
    """A child of multiprocessing ends without the interpreter's own ways, but with its module's."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _ended_by.get("multiprocessing") != os.getpid():
        _ended_by["multiprocessing"] = os.getpid()
        util.Finalize(None, _end_all, exitpriority=0)


_ended_by: dict[str, int] = {}
atexit.register(_end_all)
os.register_at_fork(after_in_child=_forked)
