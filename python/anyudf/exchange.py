"""The caller's batches in, the worker's out, as one iterator.

The native half asks for a batch when there is room for one and nothing has come back; where batches come from is called here,
with nothing of it below: it may take any time, also while the interpreter ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from anyudf.errors import MisuseError
from anyudf.sources import Given

if TYPE_CHECKING:
    from anyudf.sessions import Session

__all__ = ["Exchange"]


class Exchange(Iterator[pa.RecordBatch]):
    """What comes back for batches, which are asked for on the thread that iterates, and on no other. Whoever lets go of it before
    its end cancels."""

    def __init__(self, session: Session, batches: Iterator[Given]) -> None:
        # Kept, and with it the dispatcher, which nobody else may have: who ends the process looks for it.
        self._session = session
        self._native = session._native.exchange()
        self._batches = batches
        self._in_use = False

    def __next__(self) -> pa.RecordBatch:
        if self._in_use:
            text = "the iterator is being used by another thread; use it from one at a time"
            raise MisuseError(text, condition="USED_BY_TWO")
        self._in_use = True
        try:
            while (step := self._native.step()) is True:
                self._feed()
        except BaseException as error:
            # Otherwise it is Ctrl-C, while the input was at it. What an error says of itself is its author's code, and may fail.
            self._native.fail(f"the input failed: {type(error).__name__}" if isinstance(error, Exception) else None)
            raise
        finally:
            self._in_use = False
        if step is None:
            raise StopIteration
        return step

    def _feed(self) -> None:
        # Its end is an exception, and not a batch that it might have as well.
        try:
            batch = next(self._batches)
        except StopIteration:
            self._native.finish()
        else:
            self._native.feed(batch)
