"""One call of one function over one table, with the workers behind it kept for the next call."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from anyudf.commands import named, paths, python_worker
from anyudf.engine import Dispatcher
from anyudf.errors import MisuseError
from anyudf.jobs import shared
from anyudf.progress import Progress, reporter
from anyudf.sessions import Results, Session
from anyudf.sources import Source, rows_of

__all__ = ["run", "run_async"]

Worker = str | os.PathLike[str] | Sequence[str] | Mapping[str, Any] | Dispatcher | None


def run(
    function: Any,
    table: Any = None,
    *,
    args: Sequence[str | int] | None = None,
    append: str | None = None,
    worker: Worker = None,
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    timezone: str | None = None,
    jobs: int = 1,
    progress: Progress = None,
) -> pa.Table:
    """Calls one function over one table, and gives what comes back as a table.

    `function` is the name of a function of the worker's; or a Python function, with type hints or made by `anyudf.udf`, which
    then runs in a process of its own. `table` is anything that speaks Arrow; leave it out for functions that make their own
    rows. `args` are the columns that are its arguments; without it, all are. `append` gives the table itself, with the result of
    a scalar function as its last column, under that name.

    `worker` is as for `Dispatcher`, or a dispatcher. The workers behind it are kept, and ended with this process. `jobs` is how
    many sessions work on the rows of a scalar function at once. `progress` shows how far it is: True, a bar; or a function that
    is called with the rows that went in and the rows there are; without a word, a bar in notebooks, where tqdm is installed.

    >>> import anyudf
    >>> places = {"lat1": [40.6], "lon1": [-73.8], "lat2": [34.0], "lon2": [-118.4]}
    >>> round(anyudf.run("distance_miles", places)["distance_miles"][0].as_py())
    2467
    >>> anyudf.run("distance_miles", places, append="miles").column_names
    ['lat1', 'lon1', 'lat2', 'lon2', 'miles']
    """
    call = _Call(function, table, args, append, progress)
    if jobs > 1:
        with call:
            begin = partial(call.session, worker, options=options, timeout=timeout, timezone=timezone)
            return call.result(*shared(begin, call.source(), jobs, _label(function)))
    with call.session(worker, options=options, timeout=timeout, timezone=timezone) as session:
        with call:
            batches = [call.took(batch) for batch in call.processed(session)]
        return call.result(session.output_schema, batches)


# The keywords stand here once more, without `jobs`: checkers can take all from `run`, or none. A test keeps them the same.
async def run_async(
    function: Any,
    table: Any = None,
    *,
    args: Sequence[str | int] | None = None,
    append: str | None = None,
    worker: Worker = None,
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    timezone: str | None = None,
    progress: Progress = None,
) -> pa.Table:
    """The same in an event loop. Who is cancelled cancels the execution.

    >>> import asyncio, anyudf
    >>> asyncio.run(anyudf.run_async("generate_series", options={"start": 1, "stop": 3}))["value"].to_pylist()
    [1, 2, 3]
    """
    call = _Call(function, table, args, append, progress)
    async with call.session(worker, options=options, timeout=timeout, timezone=timezone) as session:
        with call:
            batches = [call.took(batch) async for batch in call.processed(session)]
        return call.result(session.output_schema, batches)


class _Call:
    """One call."""

    def __init__(self, function: Any, table: Any, args: Any, append: str | None, progress: Progress) -> None:
        self._function, self._args, self._append = function, args, append
        # What a column is put beside must be at hand.
        self.data = _table(table) if append is not None else table
        if append is not None and append in self.data.column_names:
            raise MisuseError(f"the table has a column {append!r} already", condition="COLUMN_EXISTS")
        self._shown = reporter(progress, _label(function), rows_of(self.data))

    def session(self, worker: Worker, **said: Any) -> Session:
        return _dispatcher(worker, self._function).session(self._function, args=self._args, **said)

    def processed(self, session: Session) -> Results:
        results = session.process(self.data)
        if self._shown.is_seen:
            results._told = self._shown.update
        return results

    def source(self) -> Source:
        if self.data is None:
            raise MisuseError("jobs divides the rows of a table, and there is none", condition="NO_TABLE")
        return Source(self.data, self._shown.update if self._shown.is_seen else None)

    def took(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Of functions that make their own rows there is nothing else to tell.
        if self.data is None:
            self._shown.update(batch.num_rows)
        return batch

    def result(self, schema: pa.Schema, batches: list[pa.RecordBatch]) -> pa.Table:
        result = pa.Table.from_batches(batches, schema)
        if self._append is None:
            return result
        if result.num_columns != 1 or result.num_rows != self.data.num_rows:
            raise MisuseError(
                f"append needs one value a row, and {_label(self._function)} gave {result.num_columns} columns of "
                f"{result.num_rows} rows for {self.data.num_rows}",
                condition="NOT_SCALAR",
            )
        return self.data.append_column(result.schema.field(0).with_name(self._append), result.column(0))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._shown.close()


def _table(data: Any) -> pa.Table:
    if data is None:
        raise MisuseError("append needs a table", condition="NO_TABLE")
    if isinstance(data, pa.Table):
        return data
    source = Source(data)
    schema = source.peek()
    batches = [batch if isinstance(batch, pa.RecordBatch) else batch.pyarrow() for batch in source]
    return pa.Table.from_batches(batches, schema)


def _label(function: Any) -> str:
    name = function if isinstance(function, str) else getattr(function, "name", None)
    return str(name or getattr(function, "__name__", "function"))


# The dispatchers behind `run`, by what starts their workers.
_kept: dict[str, Dispatcher] = {}
_lock = threading.Lock()


def _dispatcher(worker: Worker, function: Any) -> Dispatcher:
    if isinstance(worker, Dispatcher):
        return worker
    if worker is None and callable(function):
        worker = python_worker()
    started_by = named(worker)
    # Modules may be found in more places than when the last one was made.
    key = json.dumps([started_by, paths() if started_by == python_worker() else None])
    with _lock:
        if key not in _kept:
            _kept[key] = Dispatcher(started_by if isinstance(started_by, list) else json.loads(started_by))
        return _kept[key]


def _forked() -> None:
    """In a forked child: it makes dispatchers of its own."""
    global _lock
    _kept.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)
