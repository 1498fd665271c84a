"""What is decided on the driver and travels to the executors."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

__all__ = ["ASK", "Plan"]

ASK = "ask"
"""Instead of arguments: the executor asks its worker."""


@dataclass(frozen=True)
class Plan:
    """One call of a function, for all partitions."""

    worker: Any
    """As `anyudf.Dispatcher` takes it, with words that may be `Shipped`."""
    config: dict[str, Any]
    """The other arguments of `anyudf.Dispatcher`."""
    function: Any
    """As `Dispatcher.session` takes it."""
    name: str
    """For people."""
    arguments: pa.Schema | str | None
    """What the function takes; None: any columns; or `ASK`."""
    result: pa.Schema
    """What Spark takes back of what the function returns."""
    timezone: str
    session: dict[str, Any] = field(default_factory=dict)
    """The other arguments of `Dispatcher.session`."""
