"""Functions over the rows of a DataFrame."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import types as spark

from anyudf._native import Arguments

from . import running, types
from .plan import ASK
from .planning import checked, described, planned

__all__ = ["map_in_arrow"]


def map_in_arrow(
    df: DataFrame,
    function: Any,
    *,
    worker: Any = None,
    schema: Any = None,
    args: Sequence[str] | None = None,
    append: str | None = None,
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    session_conf: Mapping[str, str] | None = None,
    **config: Any,
) -> DataFrame:
    """A DataFrame of what a function returns for the rows of `df`, partition by partition.

    As `DataFrame.mapInArrow`, with the function in a process of its own: it is called in one session for each partition,
    takes the partition's batches, and returns batches.

    Args:
        df: whose rows the function is given.
        function: the name of a function of the worker; an `anyudf.Function`; or a callable that takes an iterator of
            `pyarrow.RecordBatch` and yields such, as `mapInArrow` takes one. The latter two travel with the query, by
            cloudpickle.
        worker: who has the function, as `anyudf.Dispatcher` takes it: a command as a list of words, a specification as a
            dict, or the path of one. Words may be `anyudf.spark.shipped`. Without it, the bundled worker for names, and
            this interpreter for Python functions.
        schema: what the function returns: text as Spark has it (`"a int, b string"`), Spark's types or Arrow's. Without it
            the worker is asked, here on the driver.
        args: names of the columns that the function is given, in the order of its arguments. All of them, without it.
        append: for functions that return one value for each row: puts it behind the row, in a column of this name. Only
            what the function needs crosses to the worker; all columns cross to Python and back.
        options: options of the function, a dict.
        timeout: seconds that each call may take, a batch and not a row.
        session_conf: a dict of texts that the function may read.
        config: bounds of the pool of workers, as `anyudf.Dispatcher` takes them.

    Raises `LookupError` for a function that the worker does not have, `TypeError` for columns that it does not take, and
    what `anyudf.Dispatcher` raises when the worker can't be asked. What fails on the executors fails the query.
    """
    checked(config, map_in_arrow)
    places = None if args is None else [_place(df, name) for name in args]
    given = df.schema if places is None else spark.StructType([df.schema[place] for place in places])
    given = types.schema_to_arrow(given)
    worker, sent, known = described(worker, function, config, schema, "map", options, given)
    if known.kind == "table":
        raise TypeError(f"`{known.name}` is a table function, which takes no rows")
    if known.arguments != ASK:
        # What does not fit is refused here, before anything runs.
        Arguments(known.name, known.arguments, given, args is not None)
    if append is not None:
        known = replace(known, result=_renamed(df, known, append))
    told = {"timeout": timeout, "session_conf": session_conf}
    plan = planned(worker, config, sent, known, df.sparkSession, options, **told)
    if append is None:
        return df.mapInArrow(lambda rows: running.batches(plan, places, rows, given), known.result)
    beside = spark.StructType([*df.schema.fields, *known.result.fields])
    return df.mapInArrow(lambda rows: running.batches_beside(plan, places, rows), beside)


def _place(df, name):
    if name not in df.columns:
        raise TypeError(f"the DataFrame has no column `{name}`; it has {', '.join(df.columns)}")
    return df.columns.index(name)


def _renamed(df, known, name):
    if len(known.result) != 1:
        raise TypeError(f"append= is for functions that return one column, and `{known.name}` returns {len(known.result)}")
    if name in df.columns:
        raise TypeError(f"the DataFrame has a column `{name}` already")
    (field,) = known.result
    return spark.StructType([spark.StructField(name, field.dataType, field.nullable)])
