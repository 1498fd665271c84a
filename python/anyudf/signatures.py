"""What the author of a function wrote, as what a worker needs to know: its columns, its options, and its result.

>>> def shifted(x: float, by: float = 1.0, *, scale: int = 1) -> float: ...
>>> found = read(shifted, "shifted", "scalar", "null", "fail", None, None)
>>> found.arguments.names, found.options, found.result.types
(['x', 'by'], ('scale',), [DataType(double)])
"""

import functools
import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from anyudf import hints

__all__ = ["Signature", "read"]

# As crates/arrow has them in its catalogue.
_TAKES_ALIKE, _DEFAULT, _VARIADIC = b"anyudf.takes_alike", b"anyudf.default", b"anyudf.variadic"

_Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives."""

    #: The columns it takes; None when it takes any.
    arguments: pa.Schema | None
    #: For each of them, what makes of what Arrow has what the function takes; None where that is the same.
    readers: Sequence[_Convert | None]
    #: For each of them, whether the function sees nulls.
    takes_null: Sequence[bool]
    #: The names of its options; None when it takes any.
    options: tuple[str, ...] | None
    #: The columns of its result; None when these follow from the input.
    result: pa.Schema | None
    #: The type of a value that it returns; None where it yields batches.
    value_type: pa.DataType | None
    #: What makes of what the function returns what Arrow takes.
    writer: _Convert | None


def read(
    function: Callable[..., Any], name: str, kind: str, nulls: str, on_error: str, arguments: Any, returns: Any
) -> Signature:
    """Reads the signature, hints, and what was said beside them: see `anyudf.udf`.

    Raises:
        TypeError: it is no function of this kind, or does not say the type of an argument or of its result.
    """
    if kind == "aggregate":
        said, parameters = _aggregate(function)
    else:
        said, parameters = _hints_of(function), _parameters(function, skip=0)
    if kind == "map":
        if len(parameters.columns) != 1:
            raise TypeError("a map function takes one argument, an iterator of batches")
        columns = _Columns(None if arguments is None else hints.schema_of(arguments), [], [])
    elif kind == "table":
        # All that it takes is an option.
        parameters = parameters._replace(columns=[], options=_joined(parameters.columns, parameters.options))
        columns = _Columns(pa.schema([]), [], [])
    else:
        columns = _columns(kind, nulls == "values", arguments, parameters, said)
    options = parameters.options
    result, value_type, writer = _result(name, kind, on_error == "collect", returns, said.get("return"))
    return Signature(
        arguments=columns.schema,
        readers=columns.readers,
        takes_null=columns.takes_null,
        options=None if options is None else tuple(option.name for option in options),
        result=result,
        value_type=value_type,
        writer=writer,
    )


class _Parameters(typing.NamedTuple):
    """What a function takes by place, the one argument that takes any number more, and its options; None for any names."""

    columns: list[inspect.Parameter]
    variadic: inspect.Parameter | None
    options: list[inspect.Parameter] | None


def _parameters(function: Callable[..., Any], skip: int) -> _Parameters:
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except ValueError:
        raise TypeError("its signature is not known, as it is not written in Python; wrap it in a function") from None
    kinds = inspect.Parameter
    columns = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    variadic = next((p for p in parameters if p.kind == kinds.VAR_POSITIONAL), None)
    options = [p for p in parameters if p.kind == kinds.KEYWORD_ONLY]
    takes_any = any(p.kind == kinds.VAR_KEYWORD for p in parameters)
    return _Parameters(columns, variadic, None if takes_any else options)


def _aggregate(function: Callable[..., Any]) -> tuple[dict[str, Any], _Parameters]:
    """The columns are those of `update`, the result that of `finish`, and what makes a state are options."""
    if not isinstance(function, type):
        raise TypeError("an aggregate is a class")
    missing = [name for name in ("update", "merge", "finish") if not hasattr(function, name)]
    if missing:
        raise TypeError(f"an aggregate has update, merge and finish; it lacks {', '.join(missing)}")
    aggregate: Any = function
    said = {**_hints_of(aggregate.update), "return": _hints_of(aggregate.finish).get("return")}
    columns, variadic, _ = _parameters(aggregate.update, skip=1)
    made = _parameters(function, skip=0)
    return said, _Parameters(columns, variadic, _joined(made.columns, made.options))


def _joined(some: list[inspect.Parameter], more: list[inspect.Parameter] | None) -> list[inspect.Parameter] | None:
    return None if more is None else some + more


def _hints_of(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:
        # One that is a text may be the text of a type; one that is needed and is not is told then.
        return dict(getattr(function, "__annotations__", {}))
    except TypeError:
        # Such as a partial, which has those of what it calls, and an object that can be called.
        if isinstance(function, functools.partial):
            return _hints_of(function.func)
        called = type(function).__call__
        return _hints_of(called) if inspect.isfunction(called) else {}


# ---- columns


class _Columns(typing.NamedTuple):
    schema: pa.Schema | None
    readers: list[_Convert | None]
    takes_null: list[bool]


def _columns(kind: str, nulls_are_values: bool, given: Any, parameters: _Parameters, said: dict[str, Any]) -> _Columns:
    variadic = parameters.variadic
    all_of_them = parameters.columns + ([variadic] if variadic else [])
    explicit: list[Any] = [None] * len(all_of_them)
    if given is not None:
        explicit = _explicit(given, [parameter.name for parameter in all_of_them])
    fields, readers, takes_null = [], [], []
    for parameter, named in zip(all_of_them, explicit):
        has_default = parameter.default is not inspect.Parameter.empty
        if given is not None and named is None and has_default and parameter.name not in said:
            # Not named, and not needed: it is no column, and neither is what is behind it.
            break
        hint = _hint_of(kind, parameter, named, said)
        metadata: dict[bytes | str, bytes | str] = {}
        if kind == "scalar" and not _has_timestamps(hint.type):
            metadata[_TAKES_ALIKE] = b"true"
        if parameter is variadic:
            metadata[_VARIADIC] = b"true"
        elif has_default:
            metadata[_DEFAULT] = _json_of(parameter).encode()
        fields.append(pa.field(parameter.name, hint.type, metadata=metadata or None))
        sees_null = hint.nullable or nulls_are_values
        readers.append(hints.unless_none(hint.read) if hint.read and sees_null else hint.read)
        takes_null.append(sees_null)
    return _Columns(pa.schema(fields), readers, takes_null)


def _hint_of(kind: str, parameter: inspect.Parameter, named: Any, said: dict[str, Any]) -> hints.Hint:
    # Who writes `= None` takes None, as all Pythons understood it once, and 3.10 still does in `get_type_hints`.
    takes_none = parameter.default is None or type(None) in typing.get_args(said.get(parameter.name))
    if named is not None:
        return hints.Hint(hints.type_of(named), nullable=takes_none)
    if parameter.name not in said or said[parameter.name] in _UNSAID:
        how = "arguments=" if kind == "batch" else "a type hint, or arguments="
        raise TypeError(f"which type argument `{parameter.name}` has is not said: give {how}")
    try:
        hint = hints.hint_of(said[parameter.name])
    except TypeError as error:
        raise TypeError(f"argument `{parameter.name}`: {error}") from None
    return replace(hint, nullable=hint.nullable or takes_none)


# Hints that are none.
_UNSAID = (pa.Array, pa.ChunkedArray, Any)


def _explicit(given: Any, names: list[str]) -> list[Any]:
    """Types by place, from a mapping, a schema, or a list of types."""
    if isinstance(given, pa.Schema | Mapping):
        pairs = [(f.name, f.type) for f in given] if isinstance(given, pa.Schema) else list(given.items())
        unknown = [name for name, _ in pairs if name not in names]
        if unknown and len(pairs) == len(names):
            # Names that only callers know.
            return [kind for _, kind in pairs]
        if unknown:
            raise TypeError(f"arguments= names `{unknown[0]}`, and the function takes {', '.join(names) or 'none'}")
        types = dict(pairs)
        return [types.get(name) for name in names]
    types_by_place = list(given)
    if len(types_by_place) != len(names):
        raise TypeError(f"arguments= has {len(types_by_place)} types, and the function takes {len(names)} arguments")
    return types_by_place


def _has_timestamps(kind: pa.DataType) -> bool:
    if pa.types.is_timestamp(kind):
        return True
    return any(_has_timestamps(kind.field(place).type) for place in range(kind.num_fields))


def _json_of(parameter: inspect.Parameter) -> str:
    try:
        return json.dumps(parameter.default, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(repr(parameter.default), ensure_ascii=False)


# ---- the result


def _result(
    name: str, kind: str, collects: bool, returns: Any, said: Any
) -> tuple[pa.Schema | None, pa.DataType | None, _Convert | None]:
    if kind in ("map", "table"):
        if returns is None and kind == "table":
            raise TypeError('which columns it gives is not said: give returns={"name": "type"}')
        return None if returns is None else hints.schema_of(returns), None, None
    if returns is None and (said is None or said in _UNSAID):
        raise TypeError("which type its result has is not said: give a type hint, or returns=")
    try:
        hint = hints.hint_of(said) if returns is None else hints.Hint(hints.type_of(returns))
    except TypeError as error:
        raise TypeError(f"the result: {error}") from None
    column = hint.type
    if collects:
        column = pa.struct([pa.field("value", column), pa.field("error", pa.string())])
    writer = hint.write and hints.unless_none(hint.write)
    return pa.schema([pa.field(name, column)]), hint.type, writer
