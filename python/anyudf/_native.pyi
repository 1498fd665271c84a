from collections.abc import Callable, Sequence
from typing import Any

VERSION: str

# ---- the worker

class Cancelled(BaseException): ...

def serve(
    functions: Sequence[Any],
    formats: Sequence[tuple[str, Callable[..., Any]]],
    load: Callable[[bytes], Any] | None,
    arguments: Sequence[str],
    token: str | None,
) -> int: ...
def test(function: Any, batches: Sequence[Any]) -> Any: ...
