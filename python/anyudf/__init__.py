"""anyudf."""

from anyudf._native import VERSION as __version__
from anyudf.engine import Dispatcher, Session
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

__all__ = [
    "CancelledError",
    "Dispatcher",
    "Error",
    "LaunchError",
    "MisuseError",
    "Session",
    "TimeoutError",
    "TransportError",
    "UserError",
    "ViolationError",
    "WorkerError",
    "__version__",
]
