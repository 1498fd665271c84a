"""anyudf."""

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
from anyudf.running import run, run_async

__all__ = [
    "Catalog",
    "CancelledError",
    "Dispatcher",
    "Error",
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
    "python_worker",
    "run",
    "run_async",
]
