"""Sessions in workers: start processes that serve functions, send them batches, get batches back.

>>> import pyarrow as pa
>>> with Dispatcher() as dispatcher:  # the functions that come with anyudf
...     with dispatcher.session("echo_batches") as session:
...         for batch in session.process(pa.table({"n": [1, 2, 3]})):
...             print(batch.num_rows)
3
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from anyudf import _native
from anyudf.errors import Error, MisuseError
from anyudf.sources import Source

__all__ = ["Dispatcher", "Session"]


class Dispatcher:
    """Gives sessions in workers of one kind: starts them when they are needed, reuses, watches and ends them.

    `worker` is what starts one: a command as a list of words; a command line; the path of a worker specification, whose name
    ends in .json; the specification itself as a dict; or None, for the functions that come with anyudf. `environment` has
    variables for the process beside those of this one.

    The keywords bound it. Times are in seconds. `max_workers` (8) is how many processes there are at most, `min_idle` (0) how
    many are kept ready, `idle_timeout` (60) how long others may be idle; `wait_timeout` (60) is how long a session waits for a
    worker; `memory_limit` is in bytes, of resident memory; `idle_limit` is how long a worker whose turn it is may be silent. All
    of them, and what they are without a word, are those of the engine's PoolConfig, SessionConfig and LaunchConfig.

    Any number of threads may use it. It belongs to the process that made it: in a forked child, make another. It ends with its
    `with` block, with `close`, or when nobody has it any more, and all its workers with it.

    >>> with Dispatcher(max_workers=1) as dispatcher:
    ...     dispatcher.stats()["starts"]
    0
    """

    def __init__(
        self,
        worker: str | os.PathLike[str] | Sequence[str] | Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        **config: Any,
    ) -> None:
        self._native = _native.Dispatcher(_named(worker), list((environment or {}).items()), config)

    def session(
        self,
        function: Any,
        *,
        input_schema: pa.Schema | None = None,
        output_schema: pa.Schema | None = None,
        options: Mapping[str, Any] | None = None,
        scope: str | bytes | None = None,
        timeout: float | None = None,
        timezone: str | None = None,
        task_context: Mapping[str, str] | None = None,
        session_conf: Mapping[str, str] | None = None,
    ) -> Session:
        """An execution of one function. A worker is waited for, and the function opened, when the first batch is there, or at
        once when `input_schema` is given.

        `timeout` is how many seconds each call into the function may take. A worker serves one `scope` in its life.
        """
        format, payload, name = _payload(function, options)
        said = {
            "format": format,
            "payload": payload,
            "name": name,
            "eval_type": None,
            "output_schema": output_schema,
            "scope": scope.encode() if isinstance(scope, str) else scope,
            "timeout": timeout,
            "timezone": timezone,
            "task_context": dict(task_context or {}),
            "session_conf": dict(session_conf or {}),
            "parameters": None,
        }
        session = Session(self, self._native.session(said))
        if input_schema is not None:
            session.open(input_schema)
        return session

    def stats(self) -> dict[str, Any] | None:
        """How things stand: workers, sessions, callers that wait, and what there was so far. None when it is closed."""
        return self._native.stats()

    def close(self) -> None:
        """Ends everything: no new sessions, live ones are cancelled, all workers end. Twice is harmless."""
        if self._native.is_here:
            self._native.close()

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session:
    """One execution of one function. `Dispatcher.session` makes it.

    `process` is all that most need. `send`, `finish` and `next` are the same in parts: any thread may call any of them, and the
    two directions are independent.

    >>> import pyarrow as pa
    >>> with Dispatcher() as dispatcher, dispatcher.session("count_rows") as session:
    ...     session.open(pa.schema({"n": pa.int64()}))
    ...     session.send(pa.record_batch({"n": [1, 2, 3]}))
    ...     session.finish()
    ...     session.next(), session.data
    (None, b'3')
    """

    def __init__(self, dispatcher: Dispatcher, native: _native.Session) -> None:
        self._dispatcher = dispatcher
        self._native = native

    def open(self, input_schema: pa.Schema) -> None:
        """Waits for a worker and opens the function for batches of this schema."""
        self._native.open(input_schema)

    def process(self, batches: Any = None) -> Iterator[pa.RecordBatch]:
        """What comes back for these batches, as it comes.

        `batches` is anything that speaks Arrow, or an iterable of such; it is read as the worker takes it, on the thread that
        iterates. None is no input, for functions that make their own rows. What the iterable raises cancels the execution and
        comes out as it is. Whoever stops iterating cancels.
        """
        source = Source(() if batches is None else batches)
        if self._native.schemas is None:
            schema = source.peek() or (pa.schema([]) if batches is None else None)
            if schema is None:
                raise MisuseError("there is no batch to tell the schema; give input_schema", condition="NO_INPUT_SCHEMA")
            self.open(schema)
        return self._native.exchange(source)

    def send(self, batch: Any) -> None:
        """Sends one batch; waits while the worker is slow."""
        self._native.send(batch)

    def finish(self) -> None:
        """Says that there is no more input."""
        self._native.finish()

    def next(self) -> pa.RecordBatch | None:
        """The next batch; None when the worker has finished."""
        return self._native.next()

    def cancel(self, reason: str = "cancelled by the caller") -> None:
        """Cancels the execution, from any thread, and does not wait. A no-op after its end."""
        self._native.cancel(reason)

    def close(self) -> None:
        """Ends the session if it has not ended, and waits for that. Twice is harmless."""
        self._native.close()

    def progress(self) -> dict[str, Any] | None:
        """What moved so far, in rows, messages and bytes. None before it is open."""
        return self._native.progress()

    @property
    def input_schema(self) -> pa.Schema | None:
        """What goes in. None before it is open."""
        schemas = self._native.schemas
        return schemas and schemas[0]

    @property
    def output_schema(self) -> pa.Schema | None:
        """What comes out. None before it is open."""
        schemas = self._native.schemas
        return schemas and schemas[1]

    @property
    def metrics(self) -> dict[str, Any]:
        """What worker and function have counted. Empty before the end."""
        termination = self._native.termination
        return termination["metrics"] if termination else {}

    @property
    def data(self) -> bytes | None:
        """The function's last word, such as a sink's result."""
        termination = self._native.termination
        return termination["data"] if termination else None

    @property
    def ended(self) -> str | None:
        """How it ended: finished, cancelled, failed, transport failed or interrupted. None while it has not."""
        termination = self._native.termination
        return termination["how"] if termination else None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None and self.ended is None:
            self.cancel(f"the caller failed: {type(error).__name__}")
        self.close()


def bundled() -> list[str]:
    """The command of the worker that comes with anyudf.

    >>> bundled()[1:]
    ['worker']
    """
    places = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    for place in places:
        if os.access(place / "anyudf", os.X_OK):
            return [str(place / "anyudf"), "worker"]
    program = _recorded() or shutil.which("anyudf")
    if program is None:
        raise MisuseError(
            f"the program `anyudf`, which serves the functions that come with it, is neither in {places[0]} nor on PATH; "
            "install the package anyudf for this interpreter, or say which worker is meant",
            condition="PROGRAM_NOT_FOUND",
        )
    return [program, "worker"]


def _recorded() -> str | None:
    """Where the installer has put the program, as it wrote down."""
    from importlib import metadata

    try:
        files = metadata.files("anyudf") or []
    except metadata.PackageNotFoundError:
        return None
    places = (file.locate() for file in files if file.name == "anyudf" and file.parent.name in ("bin", "Scripts"))
    return next((str(place.resolve()) for place in map(Path, places) if os.access(place, os.X_OK)), None)


def _named(worker: Any) -> list[str] | str:
    """A command, or the text of a specification."""
    import shlex

    if worker is None:
        return bundled()
    if isinstance(worker, Mapping):
        return json.dumps(worker)
    if hasattr(worker, "to_json"):
        return str(worker.to_json())
    if isinstance(worker, os.PathLike):
        return Path(worker).read_text(encoding="utf-8")
    if isinstance(worker, str):
        words = [worker] if worker.endswith(".json") and Path(worker).is_file() else shlex.split(worker)
        if len(words) == 1 and words[0].endswith(".json"):
            return Path(words[0]).read_text(encoding="utf-8")
        return words
    return [str(word) for word in worker]


def _payload(function: Any, options: Mapping[str, Any] | None) -> tuple[str, bytes, str]:
    """The format, the payload, and the name for people."""
    if isinstance(function, str):
        said: dict[str, Any] = {"function": function}
        if options:
            said["options"] = dict(options)
        return "function", json.dumps(said).encode(), function
    raise MisuseError(f"{function!r} is no function's name", condition="NO_FUNCTION")
