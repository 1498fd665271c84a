"""The engine in an event loop: nothing here blocks one, and none of its threads is taken.

Who is cancelled while it waits for a session cancels the execution.

>>> import asyncio
>>> import pyarrow as pa
>>> import anyudf
>>> async def doubled():
...     async with anyudf.Dispatcher() as dispatcher:
...         async with dispatcher.session("echo_batches") as session:
...             return [batch.num_rows async for batch in session.process(pa.table({"n": [1, 2, 3]}))]
>>> asyncio.run(doubled())
[3]
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from anyudf._native import Completions
from anyudf.errors import Error
from anyudf.sources import Source, is_in_memory

if TYPE_CHECKING:
    from anyudf.sessions import Session

__all__ = ["call", "exchange"]


class _Watch:
    """What a loop waits for: a socket tells when some of it is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop has this, and must not be kept by it.
        self._loop = weakref.ref(loop)
        self._native = Completions()
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._next = 0

    async def call(self, begin: Callable[..., None], *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        self._next += 1
        token, future = self._next, loop.create_future()
        if not self._pending:
            loop.add_reader(self._native.fileno(), self._ready)
        self._pending[token] = future
        try:
            begin(self._native, token, *args)
            return await future
        finally:
            self._pending.pop(token, None)
            if not self._pending:
                loop.remove_reader(self._native.fileno())

    def _ready(self) -> None:
        for token, value, error in self._native.take():
            future = self._pending.get(token)
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = weakref.WeakKeyDictionary()


async def call(begin: Callable[..., None], *args: Any) -> Any:
    """Begins a native call, and waits for what it gives."""
    loop = asyncio.get_running_loop()
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch(loop)
    return await watch.call(begin, *args)


async def exchange(
    session: Session, batches: Any, told: Callable[[int], None] | None = None
) -> AsyncIterator[pa.RecordBatch]:
    """What `Results` is in an event loop."""
    given: AsyncIterator[Any]
    if hasattr(batches, "__aiter__"):
        known, given = None, _flat(batches, told)
    else:
        source = Source(() if batches is None else batches, told)
        known, given = source.schema, _stepping(source, is_in_memory(batches))
    first = await anext(given, None)
    if session.input_schema is None:
        await session._look_up_async()
        known = first.schema if known is None and first is not None else known
        await session.open_async(session._schema(known, batches))
    failure: list[BaseException] = []
    feeder = asyncio.ensure_future(_feed(session, first, given, failure))
    try:
        while (batch := await session.next_async()) is not None:
            yield batch
    except Error:
        # What was wrong with the input comes out as it is (E8).
        if failure:
            raise failure[0] from None
        raise
    finally:
        if session.ended is None:
            session.cancel("the results were let go before their end")
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)


async def _feed(session: Session, first: Any, given: AsyncIterator[Any], failure: list[BaseException]) -> None:
    try:
        if first is not None:
            await session.send_async(first)
            async for batch in given:
                await session.send_async(batch)
        await session.finish_async()
    except BaseException as error:
        # How the execution ended is what the output says.
        if session.ended is None:
            failure.append(error)
            # What it says of itself is its author's code, and may fail.
            session.cancel(f"the input failed: {type(error).__name__}")
        if not isinstance(error, Exception):
            raise


async def _flat(items: Any, told: Callable[[int], None] | None) -> AsyncIterator[Any]:
    async for item in items:
        for batch in Source(item, told):
            yield batch


async def _stepping(source: Source, in_memory: bool) -> AsyncIterator[Any]:
    """The batches one by one: what may block is asked for in a thread."""
    batches = iter(source)
    if in_memory:
        for batch in batches:
            yield batch
        return
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        yield batch
