"""How a function is called on the wire: by its name, by itself, or by a payload of its worker's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from anyudf._native import FunctionInfo
from anyudf.errors import MisuseError
from anyudf.functions import Function, udf

__all__ = ["Called", "Payload", "called"]


class Payload(NamedTuple):
    """A function in a payload format of its worker's own, where a function's name does not do.

    >>> Payload("echo", b"").format
    'echo'
    """

    format: str
    payload: bytes
    name: str = "function"


class Called(NamedTuple):
    """How a function is called on the wire, and what is known of it."""

    format: str
    payload: bytes
    name: str
    function: FunctionInfo | None
    is_named: bool


def called(function: Any, options: Mapping[str, Any] | None) -> Called:
    """How a function is called with these options: a name, a `Payload`, or a Python function."""
    if isinstance(function, str):
        said: dict[str, Any] = {"function": function}
        if options:
            said["options"] = dict(options)
        try:
            payload = json.dumps(said, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            text = f"the options of {function} are no JSON: {error}"
            raise MisuseError(text, condition="INVALID_OPTIONS") from error
        return Called("function", payload.encode(), function, None, True)
    if isinstance(function, Payload):
        if options:
            raise MisuseError("a Payload has its options in it", condition="OPTIONS_IN_PAYLOAD")
        return Called(function.format, function.payload, function.name, None, False)
    if not callable(function):
        raise MisuseError(f"{function!r} is no function, and no name of one", condition="NO_FUNCTION")
    made = function if isinstance(function, Function) else udf(function)
    if options:
        made = made.with_options(**options)
    return Called("python/cloudpickle", made.payload(), made.name, FunctionInfo(**made._entry()), False)
