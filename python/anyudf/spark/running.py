"""What runs in the executors' Python processes: one session for each partition.

The generators here end in one of three ways, and the session with them: the input is done, something has failed, or Spark
closes them, because the task was killed or has enough rows. The latter two cancel what runs in the worker (E8, E12).
"""

from collections import deque

import pyarrow as pa
from pyspark import TaskContext

from anyudf._native import Arguments, fit

from . import dispatchers
from .plan import ASK

__all__ = ["arrays", "batches", "batches_beside"]


def arrays(plan, columns):
    """The results, as arrays, for an iterator of arguments: arrays, or tuples of them when there are several."""
    columns = iter(columns)
    first = next(columns, None)
    if first is None:
        return
    first = _list(first)
    schema = pa.schema([pa.field(f"_{place}", column.type) for place, column in enumerate(first)])
    # Of one column at least, which also tells a function of no arguments of its rows.
    arguments = Arguments(plan.name, _taken(plan), schema, False)
    count, results = _Count(plan), _Results(plan)

    def sent():
        yield count.given(arguments.of(pa.RecordBatch.from_arrays(first, schema=schema)))
        for more in columns:
            yield count.given(arguments.of(pa.RecordBatch.from_arrays(_list(more), schema=schema)))

    with _session(plan, arguments.schema) as session:
        for batch in session.process(sent()):
            count.returned(batch)
            (result,) = results.of(batch)
            yield result
    count.done()


def batches(plan, places, rows, schema):
    """The batches that a function returns for the columns at these places, or all, which have `schema` when there are no rows."""
    first, rows = _peek(rows)
    if first is not None:
        schema = _pick(first, places).schema
    arguments = Arguments(plan.name, _taken(plan), schema, places is not None)
    results = _Results(plan)
    with _session(plan, arguments.schema) as session:
        for batch in session.process(arguments.of(_pick(batch, places)) for batch in rows):
            yield results.named(batch)


def batches_beside(plan, places, rows):
    """The rows, each with its result in a column behind them."""
    first, rows = _peek(rows)
    if first is None:
        return
    arguments = Arguments(plan.name, _taken(plan), _pick(first, places).schema, places is not None)
    schema = first.schema.append(plan.result.field(0))
    count, results = _Count(plan), _Results(plan)
    waiting: deque[pa.RecordBatch] = deque()

    def sent():
        for batch in rows:
            waiting.append(batch)
            yield count.given(arguments.of(_pick(batch, places)))

    with _session(plan, arguments.schema) as session:
        for batch in session.process(sent()):
            count.returned(batch)
            (column,) = results.of(batch)
            while len(column):
                rows_here = waiting.popleft()
                if rows_here.num_rows > len(column):
                    waiting.appendleft(rows_here.slice(len(column)))
                    rows_here = rows_here.slice(0, len(column))
                here, column = column.slice(0, rows_here.num_rows), column.slice(rows_here.num_rows)
                yield pa.RecordBatch.from_arrays([*rows_here.columns, here], schema=schema)
    count.done()


class _Results:
    """What a function returns, as Spark takes it."""

    def __init__(self, plan):
        self._name, self._schema, self._rows = plan.name, plan.result, 0

    def of(self, batch):
        """The columns, in Spark's types."""
        first, self._rows = self._rows, self._rows + batch.num_rows
        if batch.schema.types != self._schema.types:
            batch = fit(self._name, batch, self._schema, first)
        return batch.columns

    def named(self, batch):
        """The same as a batch, of columns that are matched by name."""
        wanted = self._schema
        if batch.schema.names != wanted.names:
            there = set(batch.schema.names)
            missing = [field.name for field in wanted if field.name not in there]
            if missing:
                raise ValueError(
                    f"function `{self._name}` returned the columns {', '.join(batch.schema.names)}, and the schema also has"
                    f" {', '.join(missing)}"
                )
            batch = batch.select(wanted.names)
        return pa.RecordBatch.from_arrays(self.of(batch), schema=wanted)


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
    """What the function takes, or all that is known of it; None: any columns, as far as anybody knows."""
    if plan.arguments != ASK:
        return plan.arguments
    catalog = dispatchers.dispatcher(plan.worker, plan.config).catalog()
    return catalog and catalog.get(plan.name)


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


def _list(columns):
    return list(columns) if isinstance(columns, tuple) else [columns]


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
    return batch if places is None else batch.select(places)
