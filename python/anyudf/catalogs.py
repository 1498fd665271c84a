"""What a worker offers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from anyudf._native import FunctionInfo

__all__ = ["Catalog"]


class Catalog(Mapping[str, FunctionInfo]):
    """The functions of a worker, by name or alias, in the worker's order; and the payload formats that it takes.

    >>> import anyudf
    >>> with anyudf.Dispatcher() as dispatcher:
    ...     catalog = dispatcher.catalog()
    >>> catalog["explode_words"].kind, "function" in catalog.formats
    ('map', True)
    """

    def __init__(self, functions: Iterable[FunctionInfo], formats: Iterable[str]) -> None:
        self.functions = list(functions)
        self.formats = frozenset(formats)
        self._known = {alias: one for one in reversed(self.functions) for alias in one.aliases}
        self._known.update((one.name, one) for one in reversed(self.functions))

    def __getitem__(self, name: str) -> FunctionInfo:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return (function.name for function in self.functions)

    def __len__(self) -> int:
        return len(self.functions)

    def __repr__(self) -> str:
        return f"Catalog({self.functions!r})"
