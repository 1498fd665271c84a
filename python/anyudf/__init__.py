"""anyudf."""

from anyudf import _pyarrow  # noqa: F401, I001  a pyarrow that is too old is told of first
from anyudf._native import VERSION as __version__
from anyudf.engine import Catalog, Dispatcher, FunctionInfo, Payload, Results, Session, python_worker
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
from anyudf.functions import Function, invocation, udf
from anyudf.running import run, run_async
from anyudf.serving import serve

__all__ = [
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
