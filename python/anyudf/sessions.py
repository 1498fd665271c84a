"""One execution of one function: what goes in, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from anyudf import _native, aio
from anyudf._native import FunctionInfo
from anyudf.catalogs import Catalog
from anyudf.errors import MisuseError
from anyudf.exchange import Exchange
from anyudf.payloads import Called
from anyudf.sources import Source, batch_of, schema_of

if TYPE_CHECKING:
    from anyudf.engine import Dispatcher

__all__ = ["Results", "Session"]


class Session:
    """One execution of one function. `Dispatcher.session` makes it.

    `process` is all that most need. `open`, `send`, `finish` and `next` are the same in parts: any thread may call any of them,
    and the two directions are independent.

    >>> import anyudf
    >>> import pyarrow as pa
    >>> with anyudf.Dispatcher() as dispatcher, dispatcher.session("count_rows") as session:
    ...     session.open(pa.schema({"n": pa.int64()}))
    ...     session.send(pa.record_batch({"n": [1, 2, 3]}))
    ...     session.finish()
    ...     session.next(), session.data
    (None, b'3')
    """

    def __init__(
        self, dispatcher: Dispatcher, native: _native.Session, called: Called, args: list[str | int] | None
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
        self._native.send(batch_of(batch))

    async def send_async(self, batch: Any) -> None:
        """The same in an event loop."""
        with self._cancelling():
            await aio.call(self._native.begin_send, batch_of(batch))

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
        return schema_of(schema), self._called.name, self._called.function, self._args

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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is not None and self.ended is None:
            self.cancel(f"the caller failed: {kind.__name__}")
        await self.close_async()


class Results:
    """What comes back, batch for batch: an iterable for `for` and for `async for`, and a stream for whoever speaks Arrow.

    >>> import anyudf
    >>> import pyarrow as pa
    >>> with anyudf.Dispatcher() as dispatcher, dispatcher.session("generate_series", options={"start": 1, "stop": 3}) as session:
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
        exchange = Exchange(self._session, iter(self._open()))
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
        if kind is not None and issubclass(kind, (asyncio.CancelledError, GeneratorExit)):
            self._session.cancel("the caller was cancelled")
