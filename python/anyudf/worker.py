"""A worker for any function: `python -m anyudf.worker`.

Functions come to it in payloads of the format `python/cloudpickle`; `Function.payload` makes one.
"""

import json
import sys
from typing import Any

from anyudf._calls import Refused
from anyudf.functions import Function
from anyudf.serving import run

__all__ = ["load", "main"]


def load(payload: bytes) -> Function:
    """The function in a payload.

    Raises:
        Exception: it is no such payload, of another version of Python, or needs what is not here.
    """
    header, newline, pickled = payload.partition(b"\n")
    try:
        told = json.loads(header)
        python = told["python"]
    except (ValueError, KeyError, TypeError):
        newline = b""
    if not newline:
        text = 'the payload is no line of JSON like {"python": "3.11", "anyudf": "0.1.0"} with a pickle behind it'
        raise Refused("protocol", "INVALID_PAYLOAD", text)
    here = "%d.%d" % sys.version_info[:2]
    if python != here:
        text = (
            f"the function was made by Python {python}, and this worker is Python {here}, {sys.executable}; the code of "
            "functions is not the same in both. Start the worker with the Python that sends the function"
        )
        raise Refused("user", "PYTHON_VERSION", text)
    import cloudpickle

    try:
        function = cloudpickle.loads(pickled)
    except ModuleNotFoundError as error:
        text = f"the function needs the module `{error.name}`, which is not there for {sys.executable}; install it there"
        raise Refused("user", "MODULE_NOT_FOUND", text) from error
    if not isinstance(function, Function):
        raise Refused("protocol", "INVALID_PAYLOAD", "the pickle in the payload is no anyudf.Function")
    return function


def main(arguments: list[str] | None = None) -> Any:
    """Serves until told to stop, and ends the process."""
    run([], [], load, arguments)


if __name__ == "__main__":
    main()
