"""What runs in the executors' Python processes: one session for each partition.

The generators here end in one of three ways, and the session with them: the input is done, something has failed, or Spark
closes them, because the task was killed or has enough rows. The latter two cancel what runs in the worker (E8, E12).
"""

from collections import deque

import pyarrow as pa
from pyspark import TaskContext

from . import dispatchers
from .casting import Arguments, cast
from .plan import ASK

__all__ = ["arrays", "batches", "batches_beside"]


def arrays(plan, columns):
    """The results, as arrays, for an iterator of arguments: arrays, or tuples of them when there are several."""
    columns = iter(columns)
    first = next(columns, None)
    if first is None:
        return
    first, taken = _tuple(first), _taken(plan)
    # A function of no arguments has one column, so that it hears of rows.
    width = 0 if taken is not None and len(taken) == 0 else len(first)
    schema = pa.schema([pa.field(f"_{place}", column.type) for place, column in enumerate(first[:width])])
    arguments = Arguments(plan.name, taken, schema)
    count = _Count(plan)

    def sent():
        yield count.given(arguments.of(first[:width], len(first[0])))
        for more in columns:
            more = _tuple(more)
            yield count.given(arguments.of(more[:width], len(more[0])))

    (result,) = plan.result.types
    with _session(plan, arguments.schema) as session:
        for batch in session.process(sent()):
            count.returned(batch)
            yield cast(batch.column(0), result)
    count.done()


def batches(plan, places, rows, schema):
    """The batches that a function returns for the columns at these places, which have `schema` when there are no rows."""
    first, rows = _peek(rows)
    if first is not None:
        schema = pa.schema([first.schema.field(place) for place in places])
    arguments = Arguments(plan.name, _taken(plan), schema)
    with _session(plan, arguments.schema) as session:
        for batch in session.process(arguments.of(_pick(batch, places), batch.num_rows) for batch in rows):
            yield _conform(plan, batch)


def batches_beside(plan, places, rows):
    """The rows, each with its result in a column behind them."""
    first, rows = _peek(rows)
    if first is None:
        return
    picked = pa.schema([first.schema.field(place) for place in places])
    arguments = Arguments(plan.name, _taken(plan), picked)
    schema = first.schema.append(plan.result.field(0))
    count = _Count(plan)
    waiting: deque[pa.RecordBatch] = deque()

    def sent():
        for batch in rows:
            waiting.append(batch)
            yield count.given(arguments.of(_pick(batch, places), batch.num_rows))

    with _session(plan, arguments.schema) as session:
        for batch in session.process(sent()):
            count.returned(batch)
            column = cast(batch.column(0), schema.types[-1])
            while len(column):
                rows_here = waiting.popleft()
                if rows_here.num_rows > len(column):
                    waiting.appendleft(rows_here.slice(len(column)))
                    rows_here = rows_here.slice(0, len(column))
                here, column = column.slice(0, rows_here.num_rows), column.slice(rows_here.num_rows)
                yield pa.RecordBatch.from_arrays([*rows_here.columns, here], schema=schema)
    count.done()


class _Count:
    """Of rows, given to a function and returned by it, which are as many in the end."""

    def __init__(self, plan):
        self._name, self._given, self._returned = plan.name, 0, 0

    def given(self, batch):
        self._given += batch.num_rows
        return batch

    def returned(self, batch):
        self._returned += batch.num_rows
        if self._returned > self._given:
            self._refuse()

    def done(self):
        if self._returned != self._given:
            self._refuse()

    def _refuse(self):
        raise ValueError(
            f"function `{self._name}` returned {self._returned} rows for {self._given}; here it must return one for each"
        )


def _taken(plan):
    """What the function takes, if anybody knows."""
    if plan.arguments != ASK:
        return plan.arguments
    catalog = dispatchers.dispatcher(plan.worker, plan.config).catalog()
    entry = catalog and catalog.get(plan.name)
    return entry and entry.arguments


def _session(plan, schema):
    dispatcher = dispatchers.dispatcher(plan.worker, plan.config)
    context, timezone = _task(plan)
    return dispatcher.session(plan.function, input_schema=schema, timezone=timezone, task_context=context, **plan.session)


def _task(plan):
    """What Init tells of the task, and the time zone: the one that was set when the query ran, if it was."""
    task = TaskContext.get()
    if task is None:
        return {}, plan.timezone
    context = {
        "stage": str(task.stageId()),
        "partition": str(task.partitionId()),
        "attempt": str(task.attemptNumber()),
        "task": str(task.taskAttemptId()),
    }
    for name, key in _PROPERTIES.items():
        value = task.getLocalProperty(key)
        if value:
            context[name] = value
    return context, task.getLocalProperty("spark.sql.session.timeZone") or plan.timezone


_PROPERTIES = {
    "application": "spark.app.name",
    "job_group": "spark.jobGroup.id",
    "job": "spark.job.description",
}


def _tuple(columns):
    return columns if isinstance(columns, tuple) else (columns,)


def _peek(rows):
    """The first batch, or None, and all of them."""
    rows = iter(rows)
    first = next(rows, None)

    def all():
        if first is not None:
            yield first
        yield from rows

    return first, all()


def _pick(batch, places):
    return [batch.column(place) for place in places]


def _conform(plan, batch):
    """What a function returned, as Spark takes it: columns by name."""
    wanted = plan.result
    if batch.schema.equals(wanted):
        return batch
    there = set(batch.schema.names)
    missing = [field.name for field in wanted if field.name not in there]
    if missing:
        raise ValueError(
            f"function `{plan.name}` returned the columns {', '.join(batch.schema.names)}, and the schema also has"
            f" {', '.join(missing)}"
        )
    columns = [cast(batch.column(field.name), field.type) for field in wanted]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)
