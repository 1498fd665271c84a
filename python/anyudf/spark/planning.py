"""On the driver: what a function takes and returns, known before anything runs."""

import inspect
import json
import os
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import types as spark

import anyudf
from anyudf import _native
from anyudf.settings import refuse_unknown

from . import types
from .dispatchers import PYTHON, made
from .plan import ASK, Plan

__all__ = ["Known", "active", "checked", "described", "planned"]


@dataclass(frozen=True)
class Known:
    """What is known of a function when a query is planned."""

    name: str
    kind: str
    arguments: pa.Schema | str | None
    result: spark.StructType
    volatility: str


def active():
    """The session of this thread. Raises `RuntimeError` when there is none."""
    session = SparkSession.getActiveSession()
    if session is None:
        raise RuntimeError("there is no active Spark session: make one first, or name one with spark=")
    return session


def checked(config, called):
    """The bounds of the pool that executors will make, tried here: `called` was given them beside its own keywords.

    Raises `TypeError` for a keyword that is none, or a value of another type, and `ValueError` for a time that is none.
    """
    own = [name for name in inspect.signature(called).parameters if name != "config"]
    refuse_unknown(config, called.__name__, [*own, "environment"])
    anyudf.Dispatcher(["never-started"], **{**config, "min_idle": None}).close()
    return config


def described(worker, function, config, returns, kind, options, given=None):
    """The function as it can travel, its worker, and what is known of it. `kind` is what a mere callable is made, `given` the
    schema of the columns it is called with, where that is known. But for a name, the options travel with the function.

    For a name the worker is asked, unless the caller has said what the function returns: there may be no such worker here.

    Raises `LookupError` for a name that the worker does not know, and `TypeError` for what can't be called, can't travel, does
    not take these columns, or returns what nobody can tell.
    """
    if hasattr(worker, "to_json"):
        worker = json.loads(worker.to_json())
    if isinstance(worker, anyudf.Dispatcher):
        raise TypeError(
            "a Dispatcher belongs to this process: give what it was made of, for the executors to make their own"
        )
    if isinstance(function, str):
        if returns is not None:
            result = _schema(returns, function)
            return worker, function, Known(function, "scalar", ASK, result, "volatile")
        return worker, function, _asked(worker, function, config, options, given)
    if isinstance(function, anyudf.Payload):
        if returns is None:
            raise TypeError(f"`{function.name}` is a payload, of which nothing is known: say what it returns")
        if options:
            raise TypeError(f"`{function.name}` is a payload, which has its options in it")
        return worker, function, Known(function.name, "scalar", None, _schema(returns, function.name), "volatile")
    if not callable(function):
        raise TypeError(f"a function is a name or a callable, and not {function!r}")
    if not isinstance(function, anyudf.Function):
        # As Spark takes its own Python functions.
        function = anyudf.udf(function, kind=kind, returns=_arrow(returns, kind), volatility="immutable")
    if options:
        function = function.with_options(**options)
    worker = PYTHON if worker is None else worker
    payload = anyudf.Payload("python/cloudpickle", function.payload(), function.name)
    kind = "scalar" if function.kind == "batch" else function.kind
    result = function.result
    if returns is not None:
        result = _schema(returns, function.name)
    elif result is None:
        result = types.schema_to_spark(_opened(worker, payload, config, None, given))
    else:
        result = types.schema_to_spark(result)
    return worker, payload, Known(function.name, kind, function.arguments, result, function.volatility)


def planned(worker, config, function, known, session, options, **said):
    """The plan for a query. `said` has the other arguments of `Dispatcher.session`."""
    if isinstance(function, str):
        said["options"] = options
    return Plan(
        worker=worker,
        config=config,
        function=function,
        name=known.name,
        arguments=known.arguments,
        result=types.schema_to_arrow(known.result),
        timezone=session.conf.get("spark.sql.session.timeZone"),
        session={name: value for name, value in said.items() if value is not None},
    )


def _dispatcher(worker, config):
    """One for this alone: drivers live long, and a worker may be built anew between two calls. It is a quiet one."""
    return made(worker, config, **({} if "RUST_LOG" in os.environ else {"RUST_LOG": "warn"}))


def _asked(worker, name, config, options, given):
    with _dispatcher(worker, config) as dispatcher:
        catalog = dispatcher.catalog()
        if catalog is None:
            raise LookupError(f"the worker has no catalogue, so nothing is known of `{name}`: say what it returns")
        entry = catalog.get(name)
        if entry is None:
            raise LookupError(f"the worker has no function `{name}`; it has {', '.join(catalog)}")
        arguments, result = (entry.arguments, entry.result) if given is None else _native.signature(entry, given)
        if result is None:
            result = _opened(worker, name, config, options, given)
    return Known(entry.name, entry.kind, arguments, types.schema_to_spark(result), entry.volatility)


def _opened(worker, function, config, options, given):
    """What a function says that it returns for these columns."""
    if given is None:
        raise TypeError("what the function returns depends on its input: say it with returns=")
    with _dispatcher(worker, config) as dispatcher:
        with dispatcher.session(function, input_schema=given, options=options) as session:
            return session.output_schema


def _schema(given, name):
    """What a caller gave for a schema: text as Spark has it, Spark's types or Arrow's. One column is called `name`."""
    if isinstance(given, str):
        given = spark.DataType.fromDDL(given)
    if isinstance(given, pa.Schema):
        return types.schema_to_spark(given)
    if isinstance(given, pa.DataType):
        given = types.to_spark(given)
    if not isinstance(given, spark.DataType):
        raise TypeError(f"a schema is text, of Spark's types or of Arrow's, and not {given!r}")
    return given if isinstance(given, spark.StructType) else spark.StructType([spark.StructField(name, given)])


def _arrow(returns, kind):
    """What `anyudf.udf` is told that a callable returns."""
    if returns is None:
        return None
    schema = types.schema_to_arrow(_schema(returns, "result"))
    return schema if kind == "map" else schema.types[0]
