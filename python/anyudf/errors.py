"""What can go wrong, by whose fault it is.

Every error of the engine's is an `Error`. Its `kind` says whose fault it was and is its class too; `condition` is the stable
name of what happened; `remote_traceback` is where in the function it happened, as its worker tells it.
"""

from __future__ import annotations

import builtins
from typing import Any

__all__ = [
    "CancelledError",
    "Error",
    "LaunchError",
    "MisuseError",
    "TimeoutError",
    "TransportError",
    "UserError",
    "ViolationError",
    "WorkerError",
]


class Error(Exception):
    """Something went wrong in a function, in its worker, between here and there, or in how it was called.

    `kind` is one of `user`, `worker`, `violation`, `misuse`, `launch`, `transport`, `timeout` and `cancelled`. `condition` is a
    name in capitals that programs may compare; of an error of the user's code it is the class of the exception.

    >>> error = UserError("[ValueError] no such place", condition="ValueError", remote_traceback="  File ...")
    >>> error.kind, error.condition
    ('user', 'ValueError')
    """

    kind = "error"

    def __init__(self, message: str, *, condition: str = "", remote_traceback: str | None = None) -> None:
        super().__init__(message)
        self.condition = condition
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        text = super().__str__()
        if not self.remote_traceback:
            return text
        return f"{text}\n\nin the worker:\n{self.remote_traceback.rstrip()}"

    @property
    def message(self) -> str:
        """What happened, without the traceback."""
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:  # Errors cross processes, as multiprocessing and Spark have them do.
        return _again, (type(self), self.message, self.condition, self.remote_traceback)


class UserError(Error):
    """The function's own code failed, or the data it was given."""

    kind = "user"


class WorkerError(Error):
    """The worker failed: its environment, its resources, its own code."""

    kind = "worker"


class ViolationError(Error):
    """The worker broke the protocol."""

    kind = "violation"


class MisuseError(Error):
    """What was asked for makes no sense, whatever the worker does."""

    kind = "misuse"


class LaunchError(Error):
    """The worker process could not be started, or ended before it was ready."""

    kind = "launch"


class TransportError(Error):
    """The connection to the worker failed, or the worker is gone."""

    kind = "transport"


class TimeoutError(Error, builtins.TimeoutError):
    """Something took longer than its bound."""

    kind = "timeout"


class CancelledError(Error):
    """The execution was cancelled."""

    kind = "cancelled"


_CLASSES = {
    one.kind: one
    for one in (
        UserError,
        WorkerError,
        ViolationError,
        MisuseError,
        LaunchError,
        TransportError,
        TimeoutError,
        CancelledError,
    )
}


def _make(kind: str, condition: str, message: str, remote_traceback: str | None) -> Error:
    """What the native half raises."""
    return _again(_CLASSES.get(kind, Error), message, condition, remote_traceback)


def _again(error: type[Error], message: str, condition: str, remote_traceback: str | None) -> Error:
    return error(message, condition=condition, remote_traceback=remote_traceback)
