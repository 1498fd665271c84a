"""On the driver: what a function takes and returns, known before anything runs."""

from dataclasses import dataclass

import anyudf
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import types as spark

from . import types
from .plan import ASK
from .shipping import located

__all__ = ["active", "described", "result_of", "said", "spark_schema", "travelling"]


@dataclass(frozen=True)
class Undescribed:
    """A function of which nothing was asked. What it takes, executors will ask."""

    name: str
    kind: str = "scalar"
    arguments: str = ASK
    result: None = None
    volatility: str = "volatile"


def active():
    """The session of this thread. Raises `RuntimeError` when there is none."""
    session = SparkSession.getActiveSession()
    if session is None:
        raise RuntimeError("there is no active Spark session: make one first, or name one with spark=")
    return session


def travelling(function, kind, returns):
    """A function that can be sent to the executors: a name, or an `anyudf.Function`."""
    if isinstance(function, (str, anyudf.Function)):
        return function
    if not callable(function):
        raise TypeError(f"a function is a name or a callable, and not {function!r}")
    if returns is None:
        return anyudf.udf(function, kind=kind)
    schema = types.schema_to_arrow(spark_schema(returns, "result"))
    return anyudf.udf(function, kind=kind, returns=schema if kind == "map" else schema.types[0])


def described(worker, function, config, returns):
    """What a function says of itself: name, kind, arguments, result and volatility. For a name its worker is asked, unless
    the caller has said what it returns: there may be no such worker on the driver.

    Raises `LookupError` for a name that the worker does not know, or when it tells no names.
    """
    if not isinstance(function, str):
        return function
    if returns is not None:
        return Undescribed(function)
    # A dispatcher for this alone: drivers live long, and a worker may be built anew between two calls.
    with anyudf.Dispatcher(located(worker), **config) as dispatcher:
        return dispatcher.catalog()[function]


def result_of(entry):
    """The Arrow schema of what a function returns. Raises `TypeError` when that depends on its input."""
    if entry.result is None:
        raise TypeError(f"what `{entry.name}` returns depends on its input: say it with schema= or returns=")
    return entry.result


def said(**keywords):
    """The keywords that were given."""
    return {name: value for name, value in keywords.items() if value is not None}


def spark_schema(schema, name):
    """What a caller gave for a schema: text as Spark has it, Spark's types or Arrow's. One column is called `name`."""
    if isinstance(schema, str):
        schema = spark.DataType.fromDDL(schema)
    if isinstance(schema, pa.Schema):
        return types.schema_to_spark(schema)
    if isinstance(schema, pa.DataType):
        schema = types.to_spark(schema)
    return schema if isinstance(schema, spark.StructType) else spark.StructType([spark.StructField(name, schema)])
