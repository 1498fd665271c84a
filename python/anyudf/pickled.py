"""A function in a payload, `python/cloudpickle`: what puts it there, and what takes it out."""

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

from anyudf._calls import Refused, told_of
from anyudf._native import VERSION
from anyudf.functions import Function

__all__ = ["dumps", "load"]

# The code of functions differs between minor versions.
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def dumps(function: Function) -> bytes:
    """A payload: a line that says what has made it, and the function by cloudpickle.

    Raises:
        TypeError: something that it uses can't be sent to another process.
    """
    import cloudpickle

    header = {"python": _PYTHON, "anyudf": VERSION}
    try:
        pickled: bytes = cloudpickle.dumps(function)
    except Exception as error:
        text = f"`{function.name}` can't be sent to a worker{_culprit(function._function)}: {error}"
        raise TypeError(f"{text}. Make such things inside the function, when it is called") from error
    return json.dumps(header).encode() + b"\n" + pickled


def _culprit(function: Callable[..., Any]) -> str:
    """Which variable of a function can't be pickled, where one can be found."""
    import cloudpickle

    try:
        used = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return ""
    for name, value in {**used.globals, **used.nonlocals}.items():
        try:
            cloudpickle.dumps(value)
        except Exception:
            return f", because of `{name}`"
    return ""


def load(payload: bytes) -> Function:
    """The function in a payload.

    One that another version of anyudf has made is taken if it has all that this one's have. What goes wrong with it then has
    both versions in its text.

    Raises:
        Exception: it is no such payload, of another version of Python, or needs what is not here.
    """
    header, newline, pickled = payload.partition(b"\n")
    try:
        told = json.loads(header)
        python, version = told["python"], told.get("anyudf", VERSION)
    except (ValueError, KeyError, TypeError, AttributeError):
        newline = b""
    if not newline:
        text = 'the payload is no line of JSON like {"python": "3.11", "anyudf": "0.1.0"} with a pickle behind it'
        raise Refused("protocol", "INVALID_PAYLOAD", text)
    if python != _PYTHON:
        text = (
            f"the function was made by Python {python}, and this worker is Python {_PYTHON}, {sys.executable}; the code of "
            "functions is not the same in both. Start the worker with the Python that sends the function"
        )
        raise Refused("user", "PYTHON_VERSION", text)
    try:
        return _read(pickled)
    except Exception as error:
        if version != VERSION:
            told_of(
                error, f"anyudf {version} has sent the function, and this worker has {VERSION}: install the same for both"
            )
        raise


def _read(pickled: bytes) -> Function:
    import cloudpickle

    try:
        function = cloudpickle.loads(pickled)
    except AttributeError as error:
        if "__main__" not in str(error) and "anyudf.worker" not in str(error):
            raise
        text = (
            f"the function uses something of the program that sent it which does not come with it: {error}. Functions come "
            "with what they use, but not what a decorator like lru_cache wraps: put that in a module, or inside the function"
        )
        raise Refused("user", "NOT_SENT", text) from error
    except ModuleNotFoundError as error:
        text = f"the function needs the module `{error.name}`, which is not there for {sys.executable}; install it there"
        raise Refused("user", "MODULE_NOT_FOUND", text) from error
    if not isinstance(function, Function):
        raise Refused("protocol", "INVALID_PAYLOAD", "the pickle in the payload is no anyudf.Function")
    missing = _OF_ALL - vars(function).keys()
    if missing:
        raise Refused("protocol", "INVALID_PAYLOAD", f"the anyudf.Function in the payload lacks `{min(missing)}`")
    return function


# What all functions of this version have. Names between underscores are those of the function that one was made of, if any.
_OF_ALL = {name for name in vars(Function(lambda: None, returns="null")) if not name.startswith("__")}
