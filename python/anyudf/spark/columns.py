"""Functions of workers as functions of columns."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession, functions

import anyudf

from . import running
from .planning import active, checked, described, planned

__all__ = ["function"]


def function(
    worker: Any,
    name: Any = None,
    *,
    returns: Any = None,
    volatility: str | None = None,
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    session_conf: Mapping[str, str] | None = None,
    spark: SparkSession | None = None,
    **config: Any,
) -> Any:
    """A function of columns, which runs in a worker: for `select`, `withColumn` and, registered, for SQL.

        distance_miles = anyudf.spark.function(None, "distance_miles")
        flights.select(distance_miles("lat1", "lon1", "lat2", "lon2"))

        spark.udf.register("distance_miles", distance_miles)
        spark.sql("SELECT distance_miles(lat1, lon1, lat2, lon2) FROM flights")

    It is an Arrow UDF of PySpark's in its iterator form: one session in the worker for each partition. Columns are cast to
    what the function takes, where that loses nothing. A function of no arguments is called with one column, whichever: it
    says how many rows there are.

    Args:
        worker: who has the function, as for `map_in_arrow`; None is the bundled worker. A Python function may stand here
            by itself, and then travels with the query.
        name: the function's name, an `anyudf.Function`, or a callable with type hints.
        returns: the type of the result, as Spark or as Arrow has it. Without it the worker is asked, here on the driver.
        volatility: what may be assumed of its results, instead of what the worker says or, with `returns`, nobody does:
            `"immutable"`, `"stable"` or `"volatile"`. A volatile one is nondeterministic in Spark.
        options, timeout, session_conf, config: as for `map_in_arrow`.
        spark: the session whose time zone the function is told; the active one, without it.

    Raises `LookupError` for a function that the worker does not have, `TypeError` for one that does not return a value for
    each row, and what `anyudf.Dispatcher` raises when the worker can't be asked. `NotImplementedError` before Spark 4.1, which
    has no Arrow UDFs: `map_in_arrow` with `append=` does the same there.
    """
    if name is None:
        if type(worker) is str:
            text = f"the worker is missing; of the bundled one it is function(None, {worker!r})"
            raise TypeError(f"function(worker, name): {text}")
        if not callable(worker) and not isinstance(worker, anyudf.Payload):
            raise TypeError(f"function(worker, name): the name is missing, which function of {worker!r} is meant")
        worker, name = None, worker
    checked(config, function)
    if not hasattr(functions, "arrow_udf"):
        raise NotImplementedError("functions of columns need Spark 4.1: take map_in_arrow with append= instead")
    session = spark or active()
    worker, sent, known = described(worker, name, config, returns, "scalar", options)
    if known.kind != "scalar":
        raise TypeError(f"`{known.name}` is a function of kind {known.kind}: only scalar ones return a value for each row")
    told = {"timeout": timeout, "session_conf": session_conf}
    plan = planned(worker, config, sent, known, session, options, **told)

    # Spark tells by the hints which form of UDF this is.
    def run(columns: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        yield from running.arrays(plan, columns)

    run.__name__ = known.name
    made = functions.arrow_udf(run, known.result[0].dataType)
    return made.asNondeterministic() if (volatility or known.volatility) == "volatile" else made
