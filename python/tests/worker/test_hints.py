"""Type hints and texts as Arrow types."""

import dataclasses
import datetime
import decimal
from typing import Annotated, Optional, Union

import pyarrow as pa
import pytest

from anyudf.hints import hint_of, schema_of, type_of


@dataclasses.dataclass
class Place:
    name: str
    height: float | None


@pytest.mark.parametrize(
    ("hint", "kind", "nullable"),
    [
        (bool, pa.bool_(), False),
        (int, pa.int64(), False),
        (float, pa.float64(), False),
        (str, pa.string(), False),
        (bytes, pa.binary(), False),
        (datetime.date, pa.date32(), False),
        (datetime.time, pa.time64("us"), False),
        (datetime.datetime, pa.timestamp("us"), False),
        (datetime.timedelta, pa.duration("us"), False),
        (Optional[int], pa.int64(), True),
        (float | None, pa.float64(), True),
        (list[str], pa.list_(pa.string()), False),
        (list[list[int]], pa.list_(pa.list_(pa.int64())), False),
        (list[int | None], pa.list_(pa.int64()), False),
        (dict[str, int], pa.map_(pa.string(), pa.int64()), False),
        (Place, pa.struct([("name", pa.string()), ("height", pa.float64())]), False),
        (list[Place], pa.list_(pa.struct([("name", pa.string()), ("height", pa.float64())])), False),
        (Annotated[int, "int16"], pa.int16(), False),
        (Annotated[int | None, pa.uint8()], pa.uint8(), True),
        (Optional[Annotated[int, "int16"]], pa.int16(), True),
        (Annotated[decimal.Decimal, "decimal128(10, 2)"], pa.decimal128(10, 2), False),
        (Annotated[float, 7], pa.float64(), False),
        (pa.int32(), pa.int32(), False),
        (pa.DoubleArray, pa.float64(), False),
        (pa.StringArray, pa.string(), False),
        (pa.LargeBinaryArray, pa.large_binary(), False),
        (pa.StringViewArray, pa.string_view(), False),
    ],
)
def test_hints(hint, kind, nullable):
    found = hint_of(hint)
    assert (found.type, found.nullable) == (kind, nullable)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (decimal.Decimal, "decimal128(10, 2)"),
        (list, "list[int]"),
        (dict, "dict[str, int]"),
        (Union[int, str], "several types"),
        (complex, "complex is no type that Arrow has"),
        (object, "object is no type"),
    ],
)
def test_hints_that_say_too_little(hint, words):
    with pytest.raises(TypeError) as error:
        hint_of(hint)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float32(),
        pa.bool_(),
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.binary(7),
        pa.date32(),
        pa.date64(),
        pa.time32("s"),
        pa.time64("ns"),
        pa.timestamp("ms"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns", "Europe/Paris"),
        pa.duration("s"),
        pa.decimal128(10, 2),
        pa.decimal256(50, -3),
        pa.list_(pa.int64()),
        pa.large_list(pa.string()),
        pa.list_(pa.float32(), 3),
        pa.map_(pa.string(), pa.list_(pa.int8())),
        pa.struct([("a", pa.int64()), ("b", pa.struct([("c", pa.string())]))]),
        pa.list_(pa.field("item", pa.int64(), nullable=False)),
        pa.list_(pa.field("element", pa.int64())),
        pa.list_(pa.field("item", pa.int64(), nullable=False), 3),
        pa.large_list(pa.field("item", pa.list_(pa.int8()), nullable=False)),
        pa.list_view(pa.int64()),
        pa.list_view(pa.field("item", pa.large_string(), nullable=False)),
        pa.large_list_view(pa.string()),
        pa.string_view(),
        pa.binary_view(),
        pa.map_(pa.string(), pa.int64(), keys_sorted=True),
        pa.map_(pa.field("k", pa.string(), nullable=False), pa.field("v", pa.int64())),
        pa.struct([pa.field("a", pa.int64(), nullable=False)]),
        pa.struct([pa.field("in the air", pa.int64(), nullable=False), pa.field("é-1", pa.string())]),
        pa.struct([]),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.list_(pa.int64()), ordered=True),
        pa.run_end_encoded(pa.int32(), pa.string()),
        pa.month_day_nano_interval(),
        pa.null(),
    ],
    ids=str,
)
def test_texts_are_read_as_pyarrow_writes_them(kind):
    found = type_of(str(kind))
    assert found == kind and str(found) == str(kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("float64", pa.float64()),
        ("double", pa.float64()),
        ("str", pa.string()),
        ("list<int64>", pa.list_(pa.int64())),
        (" struct< a : int64 , b : string > ", pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ("map<string, int64>", pa.map_(pa.string(), pa.int64())),
        ("dictionary<int32, string>", pa.dictionary(pa.int32(), pa.string())),
        ("dictionary<values=string, indices=int32>", pa.dictionary(pa.int32(), pa.string())),
        ("list<int64 not null>", pa.list_(pa.field("item", pa.int64(), nullable=False))),
        ("map<string, int64 not null>", pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False))),
        ("large_utf8", pa.large_string()),
        ("timestamp", pa.timestamp("us")),
        ("timestamp[us, tz=+01:00]", pa.timestamp("us", "+01:00")),
        ("decimal(5)", pa.decimal128(5, 0)),
        ("date32", pa.date32()),
        ("date64[ ms ]", pa.date64()),
    ],
)
def test_texts(text, kind):
    assert type_of(text) == kind


NO_TYPES = [
    "", "flaot64", "list<", "list<int64", "struct<a int64>", "int64>", "decimal128(x)", "decimal128(99)", "timestamp[weeks]",
    "time32[us]", "timestamp[us, tz=UTC", "map<string>", "map<string ('k, int64>", "dictionary<string>",
    "dictionary<string, string>", "dense_union<a: int64=0>", "struct<a int64, b: int64>", "struct<,a: int64>",
    "struct<a: int64,, b: int64>", "struct<a>b: int64>", "struct<list<int64>: int64>", "date32[xx]", "date32[ms]", "date64[day]",
    "date64[days]", "date32[]",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TYPES)
def test_texts_that_are_no_types(text):
    with pytest.raises(TypeError, match="is no type"):
        type_of(text)


def test_a_type_that_this_pyarrow_has_not_is_told(monkeypatch):
    monkeypatch.delattr(pa, "decimal32", raising=False)
    with pytest.raises(TypeError, match="no decimal32"):
        type_of("decimal32(5, 2)")


def test_schemas():
    wanted = pa.schema([("a", pa.int64()), ("b", pa.string())])
    for columns in ({"a": int, "b": "string"}, [("a", "int64"), ("b", str)], wanted, list(wanted)):
        assert schema_of(columns) == wanted
    assert schema_of(Place).names == ["name", "height"]
