"""What Arrow types type hints, and texts, stand for.

| hint | Arrow |
|---|---|
| `bool`, `int`, `float` | bool, int64, double |
| `str`, `bytes` | string, binary |
| `datetime.date`, `datetime.time` | date32, time64[us] |
| `datetime.datetime`, `datetime.timedelta` | timestamp[us], duration[us] |
| `list[T]`, `dict[K, V]` | list, map |
| a dataclass | a struct of its fields |
| `Optional[T]`, `T | None` | T, which may be null |
| `Annotated[T, "decimal128(10, 2)"]` | the type that is named, or a pyarrow type |
| `pa.DoubleArray` and the like, in a function of whole arrays | the type of its values |

>>> from anyudf.hints import type_of
>>> type_of("list<struct<name: string, height: double>>")
ListType(list<item: struct<name: string, height: double>>)
"""

import dataclasses
import datetime
import decimal
import types
import typing
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from anyudf import texts

__all__ = ["Hint", "hint_of", "schema_of", "type_of"]


@dataclasses.dataclass(frozen=True)
class Hint:
    """What a hint says: an Arrow type, whether null is a value, and what to make of values on their way in and out."""

    type: pa.DataType
    nullable: bool = False
    #: Makes of what Arrow has what the function takes; None where that is the same.
    read: Callable[[Any], Any] | None = None
    #: Makes of what the function returns what Arrow takes.
    write: Callable[[Any], Any] | None = None


_SIMPLE = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.datetime: pa.timestamp("us"),
    datetime.timedelta: pa.duration("us"),
    type(None): pa.null(),
}

_ARRAYS = {
    pa.NullArray: pa.null(),
    pa.BooleanArray: pa.bool_(),
    pa.Int8Array: pa.int8(),
    pa.Int16Array: pa.int16(),
    pa.Int32Array: pa.int32(),
    pa.Int64Array: pa.int64(),
    pa.UInt8Array: pa.uint8(),
    pa.UInt16Array: pa.uint16(),
    pa.UInt32Array: pa.uint32(),
    pa.UInt64Array: pa.uint64(),
    pa.HalfFloatArray: pa.float16(),
    pa.FloatArray: pa.float32(),
    pa.DoubleArray: pa.float64(),
    pa.StringArray: pa.string(),
    pa.LargeStringArray: pa.large_string(),
    pa.StringViewArray: pa.string_view(),
    pa.BinaryArray: pa.binary(),
    pa.LargeBinaryArray: pa.large_binary(),
    pa.BinaryViewArray: pa.binary_view(),
    pa.Date32Array: pa.date32(),
    pa.Date64Array: pa.date64(),
}


def hint_of(hint: Any) -> Hint:
    """What a hint stands for.

    >>> hint_of(float | None)
    Hint(type=DataType(double), nullable=True, read=None, write=None)
    """
    if isinstance(hint, str | pa.DataType):
        return Hint(type_of(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return _union(hint, arguments)
    if origin is list:
        return _list(hint_of(arguments[0]))
    if origin is dict:
        return _map(hint_of(arguments[0]), hint_of(arguments[1]))
    if hint in _SIMPLE:
        return Hint(_SIMPLE[hint])
    if hint in _ARRAYS:
        return Hint(_ARRAYS[hint])
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _struct(hint)
    if hint is decimal.Decimal:
        raise TypeError('Decimal says nothing of its digits: write Annotated[Decimal, "decimal128(10, 2)"], say')
    if hint in (list, dict):
        raise TypeError(f"{hint.__name__} says nothing of its items: write list[int], say, or dict[str, int]")
    raise TypeError(
        f"{_text(hint)} is no type that Arrow has; anyudf.hints lists those that are. Others can be named: "
        'Annotated[T, "int32"]'
    )


def _text(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else repr(hint)


def _annotated(hint: Any, said: tuple[Any, ...]) -> Hint:
    named = next((what for what in said if isinstance(what, str | pa.DataType)), None)
    if named is None:
        return hint_of(hint)
    try:
        # Whether null is a value, and what values become, is still the hint's to say.
        return dataclasses.replace(hint_of(hint), type=type_of(named))
    except TypeError:
        # What is annotated may be no type that Arrow has: that is why another is named.
        arguments = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
        return Hint(type_of(named), nullable=type(None) in arguments)


def _union(hint: Any, arguments: tuple[Any, ...]) -> Hint:
    others = [argument for argument in arguments if argument is not type(None)]
    if len(others) != 1 or len(arguments) != 2:
        raise TypeError(f"{hint} is several types; only Optional[T] is a type that Arrow has")
    return dataclasses.replace(hint_of(others[0]), nullable=True)


def unless_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _list(item: Hint) -> Hint:
    read, write = item.read and unless_none(item.read), item.write and unless_none(item.write)
    return Hint(
        pa.list_(item.type),
        read=read and (lambda values: [read(value) for value in values]),
        write=write and (lambda values: [write(value) for value in values]),
    )


def _map(key: Hint, value: Hint) -> Hint:
    def both(one: Callable[[Any], Any] | None, other: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
        one, other = one or (lambda value: value), unless_none(other) if other else (lambda value: value)
        return lambda pairs: [(one(key), other(value)) for key, value in pairs]

    read, write = both(key.read, value.read), both(key.write, value.write)
    return Hint(
        pa.map_(key.type, value.type), read=lambda pairs: dict(read(pairs)), write=lambda value: write(value.items())
    )


def _struct(cls: type) -> Hint:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: hint_of(hints[field.name]) for field in dataclasses.fields(cls)}
    reads = {name: unless_none(field.read) for name, field in fields.items() if field.read}
    writes = {name: unless_none(field.write) for name, field in fields.items() if field.write}
    names = tuple(fields)

    def read(value: dict[str, Any]) -> Any:
        for name, convert in reads.items():
            value[name] = convert(value[name])
        return cls(**value)

    def write(value: Any) -> Any:
        row = dict(value) if isinstance(value, dict) else {name: getattr(value, name) for name in names}
        for name, convert in writes.items():
            row[name] = convert(row.get(name))
        return row

    return Hint(pa.struct([pa.field(name, field.type) for name, field in fields.items()]), read=read, write=write)


# ---- types by whatever names them


def type_of(what: Any) -> pa.DataType:
    """The type that a text names, as pyarrow writes it; a type itself, and what a hint stands for, too.

    >>> type_of("timestamp[us, tz=UTC]"), type_of("decimal128(10, 2)"), type_of(float)
    (TimestampType(timestamp[us, tz=UTC]), Decimal128Type(decimal128(10, 2)), DataType(double))
    """
    if isinstance(what, pa.DataType):
        return what
    if isinstance(what, str):
        return texts.read(what)
    return hint_of(what).type


def schema_of(columns: Any) -> pa.Schema:
    """The schema that columns stand for: a mapping or pairs of names and types, a dataclass, a pyarrow schema.

    >>> schema_of({"word": "string", "position": "int64"}).names
    ['word', 'position']
    """
    if isinstance(columns, pa.Schema):
        return columns
    if hasattr(columns, "__arrow_c_schema__"):
        return pa.schema(columns)
    if isinstance(columns, type) and dataclasses.is_dataclass(columns):
        return pa.schema(list(hint_of(columns).type))
    pairs = columns.items() if hasattr(columns, "items") else columns
    return pa.schema([item if isinstance(item, pa.Field) else pa.field(item[0], type_of(item[1])) for item in pairs])
