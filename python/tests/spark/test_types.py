"""Arrow's types and Spark's: what becomes what, and what is refused."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql import types as spark

from anyudf.spark import types
from anyudf.spark.casting import Arguments, cast, fields_for, refuse_misfits

SAME = [
    (pa.null(), "void"),
    (pa.bool_(), "boolean"),
    (pa.int8(), "tinyint"),
    (pa.int16(), "smallint"),
    (pa.int32(), "int"),
    (pa.int64(), "bigint"),
    (pa.float32(), "float"),
    (pa.float64(), "double"),
    (pa.string(), "string"),
    (pa.binary(), "binary"),
    (pa.date32(), "date"),
    (pa.timestamp("us"), "timestamp_ntz"),
    (pa.timestamp("us", "UTC"), "timestamp"),
    (pa.duration("us"), "interval day to second"),
    (pa.decimal128(12, 3), "decimal(12,3)"),
    (pa.list_(pa.int32()), "array<int>"),
    (pa.map_(pa.string(), pa.list_(pa.float64())), "map<string,array<double>>"),
    (pa.struct({"a": pa.int8(), "b": pa.struct({"c": pa.string()})}), "struct<a:tinyint,b:struct<c:string>>"),
]
WIDER = [
    (pa.uint8(), "smallint"),
    (pa.uint16(), "int"),
    (pa.uint32(), "bigint"),
    (pa.uint64(), "decimal(20,0)"),
    (pa.float16(), "float"),
    (pa.large_string(), "string"),
    (pa.binary(4), "binary"),
    (pa.date64(), "date"),
    (pa.timestamp("ns", "Asia/Tokyo"), "timestamp"),
    (pa.timestamp("s"), "timestamp_ntz"),
    (pa.duration("ms"), "interval day to second"),
    (pa.decimal128(10, -3), "decimal(13,0)"),
    (pa.decimal256(38, 2), "decimal(38,2)"),
    (pa.large_list(pa.uint8()), "array<smallint>"),
    (pa.list_(pa.float64(), 2), "array<double>"),
    (pa.dictionary(pa.int32(), pa.string()), "string"),
    (pa.run_end_encoded(pa.int32(), pa.float64()), "double"),
]


@pytest.mark.parametrize("arrow, text", SAME + WIDER, ids=str)
def test_columns_have_these_types_in_spark(arrow, text):
    assert types.to_spark(arrow).simpleString() == text


@pytest.mark.parametrize("arrow, text", SAME, ids=str)
def test_and_come_back_as_they_were(arrow, text):
    assert types.to_arrow(types.to_spark(arrow)) == arrow


def test_whether_there_may_be_nulls_is_kept():
    schema = pa.schema([pa.field("a", pa.list_(pa.field("element", pa.int8(), False)), False), pa.field("b", pa.int8())])
    struct = types.schema_to_spark(schema)
    assert [field.nullable for field in struct] == [False, True] and not struct["a"].dataType.containsNull
    assert types.schema_to_arrow(struct) == schema


@pytest.mark.skipif(not hasattr(spark, "TimeType"), reason="Spark has times of day from 4.1 on")
def test_times_of_day_are_of_newer_versions():
    assert types.to_arrow(types.to_spark(pa.time32("s"))) == pa.time64("ns")


@pytest.mark.parametrize(
    "arrow, why",
    [
        (pa.month_day_nano_interval(), "no such type"),
        (pa.decimal256(50, 2), "38 digits"),
        (pa.decimal128(38, -2), "38 digits"),
        (pa.dense_union([pa.field("a", pa.int8())]), "no such type"),
    ],
    ids=str,
)
def test_what_spark_can_not_hold_is_refused(arrow, why):
    with pytest.raises(TypeError, match=why):
        types.to_spark(pa.list_(arrow))


@pytest.mark.parametrize(
    "type", [spark.YearMonthIntervalType(), spark.CalendarIntervalType(), spark.VariantType()], ids=str
)
def test_what_does_not_cross_is_refused(type):
    with pytest.raises(TypeError, match=r"can't be exchanged"):
        types.to_arrow(spark.ArrayType(type))


WHEN = datetime.datetime(2001, 1, 15, 8, 12, 31)


@pytest.mark.parametrize(
    "values, given, wanted",
    [
        ([1, None], pa.int32(), pa.float64()),
        ([1, 2**60 + 1], pa.int64(), pa.float64()),
        ([1, None], pa.int64(), pa.uint8()),
        ([Decimal("1.50")], pa.decimal128(3, 2), pa.float64()),
        ([1], pa.int32(), pa.decimal128(20, 0)),
        (["a", None], pa.string(), pa.large_string()),
        (["a", None], pa.string(), pa.dictionary(pa.int32(), pa.string())),
        ([b"ab"], pa.binary(), pa.binary(2)),
        ([WHEN], pa.timestamp("us"), pa.timestamp("ns")),
        ([WHEN.date()], pa.date32(), pa.timestamp("us")),
        ([[1], None], pa.list_(pa.int32()), pa.large_list(pa.float64())),
        ([{"a": 1}], pa.struct({"a": pa.int32()}), pa.struct({"a": pa.int64()})),
        ([None], pa.null(), pa.list_(pa.string())),
    ],
    ids=str,
)
def test_arguments_become_what_a_function_takes(values, given, wanted):
    column = pa.array(values, given)
    arguments = Arguments("f", pa.schema({"x": wanted}), pa.schema({"_0": given}))
    batch = arguments.of([column], len(column))
    assert batch.schema == pa.schema({"x": wanted})
    # The same values, but for the last digits of large whole numbers.
    midnight = WHEN.replace(hour=0, minute=0, second=0)
    expected = [midnight if type(value) is datetime.date else value for value in values]
    rounded = lambda value: float(value) if isinstance(value, Decimal | int) else value
    assert [rounded(value) for value in batch["x"].to_pylist()] == [rounded(value) for value in expected]


@pytest.mark.parametrize(
    "given, wanted",
    [
        (pa.string(), pa.float64()),
        (pa.float64(), pa.int64()),
        (pa.float64(), pa.decimal128(10, 2)),
        (pa.decimal128(10, 2), pa.int64()),
        (pa.bool_(), pa.int8()),
        (pa.timestamp("us", "UTC"), pa.timestamp("us")),
        (pa.string(), pa.binary()),
        (pa.struct({"a": pa.int8()}), pa.struct({"b": pa.int8()})),
        (pa.list_(pa.string()), pa.list_(pa.int8())),
    ],
    ids=str,
)
def test_what_would_not_be_the_same_is_refused(given, wanted):
    with pytest.raises(TypeError, match="function `f` takes .* for `x` \\(column 1\\), and is given"):
        refuse_misfits("f", pa.schema({"_0": given}), list(pa.schema({"x": wanted})))


def test_a_value_that_does_not_fit_is_an_error():
    with pytest.raises(pa.ArrowInvalid, match="300"):
        cast(pa.array([300]), pa.uint8())


def test_text_is_taken_as_it_is_where_the_function_says_so():
    field = pa.field("x", pa.string(), metadata={"anyudf.takes_alike": "true"})
    arguments = Arguments("f", pa.schema([field]), pa.schema({"_0": pa.large_string()}))
    assert arguments.schema == pa.schema({"x": pa.large_string()})


def test_rows_of_no_columns_are_still_rows():
    arguments = Arguments("f", pa.schema([]), pa.schema([]))
    assert arguments.of([], 3).num_rows == 3 and arguments.of([], 3).num_columns == 0


def test_arguments_may_be_left_out_or_many():
    default = pa.field("digits", pa.int32(), metadata={"anyudf.default": "2"})
    many = pa.field("more", pa.string(), metadata={"anyudf.variadic": "true"})
    x = pa.field("x", pa.float64())
    names = lambda arguments, count: [field.name for field in fields_for("f", pa.schema(arguments), count)]
    assert names([x, default], 1) == ["x"]
    assert names([x, default], 2) == ["x", "digits"]
    assert names([x, many], 1) == ["x"]
    assert names([x, many], 3) == ["x", "more", "more"]
    for arguments, count, words in [
        ([x, default], 3, "takes 1 to 2 columns"),
        ([x], 2, r"takes 1 columns \(x double\), and is given 2"),
        ([x, many], 0, "takes at least 1 columns"),
    ]:
        with pytest.raises(TypeError, match=words):
            names(arguments, count)
