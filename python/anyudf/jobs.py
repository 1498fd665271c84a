"""Several sessions work on the rows of one scalar function, which can't change what it gives."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from anyudf.errors import MisuseError
from anyudf.sessions import Session
from anyudf.sources import Source

__all__ = ["shared"]

# As `anyudf run` has it: enough that a batch's costs do not count, and few enough that all have something to do.
_ROWS = 65_536


def shared(begin: Callable[[], Session], source: Source, jobs: int, label: str) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The results of all rows, in order, and their schema."""
    schema = source.peek()
    if schema is None:
        raise MisuseError("there is no batch to tell the schema", condition="NO_INPUT_SCHEMA")
    work = _Work(_cut(source), label)
    # The first is opened before there are threads: most that can be wrong is wrong with all of them.
    with work.opened(begin(), schema) as first:
        kind = first.function.kind if first.function else None
        if kind != "scalar":
            of_kind = f"of kind {kind}" if kind else "of a kind that its worker does not tell"
            text = f"jobs divides the rows, and {label} is {of_kind}; only scalar functions give the same then"
            raise MisuseError(text, condition="NOT_SCALAR")
        others = [threading.Thread(target=work.join_in, args=(begin, schema), daemon=True) for _ in range(jobs - 1)]
        for other in others:
            other.start()
        try:
            work.do(first)
        except BaseException as error:
            work.fail(error)
        for other in others:
            other.join()
        if work.error is not None:
            raise work.error
        output_schema = first.output_schema
    assert output_schema is not None, "it was open"
    return output_schema, [piece for pieces in work.results for piece in pieces]


class _Work:
    """The batches that are to be worked on, and what came of each."""

    def __init__(self, batches: Iterator[pa.RecordBatch], label: str) -> None:
        self._batches, self._label = batches, label
        self._lock = threading.Lock()
        self._sessions: list[Session] = []
        self.results: list[list[pa.RecordBatch]] = []
        self.error: BaseException | None = None

    def opened(self, session: Session, schema: pa.Schema) -> Session:
        session.open(schema)
        self._sessions.append(session)
        return session

    def join_in(self, begin: Callable[[], Session], schema: pa.Schema) -> None:
        """What each of the other threads does."""
        try:
            with self.opened(begin(), schema) as session:
                self.do(session)
        except BaseException as error:
            self.fail(error)

    def do(self, session: Session) -> None:
        """Takes batches as long as there are any, and pairs the results with them."""
        owed: deque[list[int]] = deque()
        for result in session.process(self._mine(owed)):
            while result.num_rows:
                if not owed:
                    raise self._odd("more rows than it was given")
                place, rows = owed[0]
                piece = result.slice(0, rows)
                self.results[place].append(piece)
                result = result.slice(piece.num_rows)
                owed[0][1] -= piece.num_rows
                if not owed[0][1]:
                    owed.popleft()
        if owed:
            raise self._odd("fewer rows than it was given")

    def fail(self, error: BaseException) -> None:
        """The first failure is what counts; the others are its consequence."""
        with self._lock:
            if self.error is None:
                self.error = error
        for session in list(self._sessions):
            session.cancel("another job failed")

    def _mine(self, owed: deque[list[int]]) -> Iterator[pa.RecordBatch]:
        while True:
            with self._lock:
                batch = next(self._batches, None) if self.error is None else None
                if batch is None:
                    return
                owed.append([len(self.results), batch.num_rows])
                self.results.append([])
            yield batch

    def _odd(self, what: str) -> MisuseError:
        text = f"{self._label} returned {what}; a scalar function returns a value for each row"
        return MisuseError(text, condition="NOT_SCALAR")


def _cut(source: Source) -> Iterator[pa.RecordBatch]:
    for given in source:
        batch: Any = given if isinstance(given, pa.RecordBatch) else given.pyarrow()
        for row in range(0, batch.num_rows, _ROWS):
            yield batch.slice(row, _ROWS)
