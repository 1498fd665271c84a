"""How far a call is: a bar of tqdm, or whatever the caller has for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Progress", "reporter"]

# None: a bar in notebooks, where tqdm is installed. True: a bar. False: none. Or a function that is given the rows that went in
# so far, and all there are, where that is known.
Progress = bool | None | Callable[[int, int | None], None]


class _Silent:
    is_seen = False

    def update(self, rows: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Told(_Silent):
    """Tells a function of the caller's."""

    is_seen = True

    def __init__(self, tell: Callable[[int, int | None], None], total: int | None) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def update(self, rows: int) -> None:
        self._done += rows
        self._tell(self._done, self._total)


class _Bar(_Silent):
    is_seen = True

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def update(self, rows: int) -> None:
        self._bar.update(rows)

    def close(self) -> None:
        self._bar.close()


def reporter(progress: Progress, label: str, total: int | None) -> _Silent:
    """What is told of rows, as they go in.

    >>> shown = reporter(lambda done, total: print(done, "of", total), "f", 10)
    >>> shown.update(3); shown.update(4)
    3 of 10
    7 of 10
    """
    if callable(progress):
        return _Told(progress, total)
    if progress is False or (progress is None and not _in_notebook()):
        return _Silent()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if progress is None:
            return _Silent()
        raise
    return _Bar(tqdm(total=total, desc=label, unit="rows", unit_scale=True, file=sys.stderr))


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
