"""Functions in processes of their own: written here for any engine, and called from here in any language.

>>> import anyudf
>>> @anyudf.udf
... def fahrenheit(celsius: float) -> float:
...     return celsius * 1.8 + 32.0
>>> anyudf.run(fahrenheit, {"celsius": [100.0, None]})["fahrenheit"].to_pylist()
[212.0, None]

`udf` makes functions, `serve` makes a module a worker, `run` calls a function over a table, and `Dispatcher` is the engine.
`anyudf.spark` is for PySpark. The guide is docs/python.md.
"""

from anyudf import _pyarrow  # noqa: F401  a pyarrow that is too old is told of first
from anyudf._native import VERSION as __version__
from anyudf.catalogs import Catalog
from anyudf.commands import python_worker
from anyudf.engine import Dispatcher, FunctionInfo
from anyudf.errors import (
    CancelledError,
    Error,
    LaunchError,
    MisuseError,
    TimeoutError,
    TransportError,
    UserError,
    ViolationError,
    WorkerError,
)
from anyudf.functions import Cancelled, Function, invocation, udf
from anyudf.payloads import Payload
from anyudf.running import run, run_async
from anyudf.serving import serve
from anyudf.sessions import Results, Session

__all__ = [
    "Cancelled",
    "CancelledError",
    "Catalog",
    "Dispatcher",
    "Error",
    "Function",
    "FunctionInfo",
    "LaunchError",
    "MisuseError",
    "Payload",
    "Results",
    "Session",
    "TimeoutError",
    "TransportError",
    "UserError",
    "ViolationError",
    "WorkerError",
    "__version__",
    "invocation",
    "python_worker",
    "run",
    "run_async",
    "serve",
    "udf",
]
