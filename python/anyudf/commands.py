"""What starts a worker: a command, or a specification."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyudf.errors import MisuseError

__all__ = ["bundled", "named", "paths", "python_worker"]


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


def python_worker() -> list[str]:
    """The command of the worker that runs functions of this interpreter, which travel to it pickled.

    >>> python_worker()[1:]
    ['-m', 'anyudf.worker']
    """
    return [sys.executable, "-m", "anyudf.worker"]


def paths() -> str:
    """Where modules are found here: functions may name what is in them."""
    return os.pathsep.join(os.path.abspath(place) for place in sys.path if not place.endswith(".zip"))


def named(worker: Any) -> list[str] | str:
    """A command, or the text of a specification."""
    if worker is None:
        return bundled()
    if isinstance(worker, Mapping):
        return json.dumps(worker)
    if hasattr(worker, "to_json"):
        return str(worker.to_json())
    if isinstance(worker, os.PathLike):
        return _read(worker)
    if isinstance(worker, str):
        try:
            words = [worker] if worker.endswith(".json") and Path(worker).is_file() else shlex.split(worker)
        except ValueError:
            text = "the worker's command line has a quote that is not closed, or ends in a backslash"
            raise MisuseError(text, condition="INVALID_WORKER_COMMAND") from None
        if len(words) == 1 and words[0].endswith(".json"):
            return _read(words[0])
        return words
    return [os.fspath(word) for word in worker]


def _read(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        text = f"can't read the worker specification {os.fspath(path)!r}: {error}"
        raise MisuseError(text, condition="SPECIFICATION_NOT_READ") from error
