from collections.abc import Callable, Sequence
from typing import Any

VERSION: str

# ---- the worker

class Cancelled(BaseException):
    """Raised inside a function whose execution was cancelled."""

def serve(
    functions: Sequence[Any],
    formats: Sequence[tuple[str, Callable[..., Any]]],
    load: Callable[[bytes], Any] | None,
    arguments: Sequence[str],
    token: str | None,
) -> int:
    """Serves until told to stop, without the GIL, and returns the exit code. From then on the process ends within two
    seconds, whoever holds the GIL."""

def test(function: Any, batches: Sequence[Any]) -> Any:
    """Calls a function as a worker does, in this process, and returns a pyarrow.Table."""
