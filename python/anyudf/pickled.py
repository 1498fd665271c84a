"""Functions of this interpreter, on their way to another."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from anyudf._native import VERSION, FunctionInfo
from anyudf.errors import MisuseError

__all__ = ["pickled"]


def pickled(function: Any, options: Mapping[str, Any] | None) -> tuple[bytes, FunctionInfo]:
    """The payload `python/cloudpickle`, and what is known of the function."""
    import cloudpickle

    from anyudf.functions import Function, udf

    if not isinstance(function, Function):
        function = udf(function)
    if options:
        function = function.with_options(**options)
    try:
        body = cloudpickle.dumps(function)
    except Exception as error:
        raise MisuseError(
            f"{function.name} can't be pickled, so it can't travel to a worker: {error}; what it closes over must be picklable, or "
            "be made in the function itself",
            condition="NOT_PICKLABLE",
        ) from error
    head = {"python": "{}.{}".format(*sys.version_info), "anyudf": VERSION}
    info = FunctionInfo(function.name, function.kind, function.arguments, function.result)
    return json.dumps(head).encode() + b"\n" + body, info
