"""Arrow's types and Spark's: what becomes what, and what is refused."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql import types as spark

import anyudf
from anyudf._native import Arguments, fit, signature
from anyudf.spark import types

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
if hasattr(pa, "list_view"):
    WIDER.append((pa.list_view(pa.uint8()), "array<smallint>"))


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


def sent(wanted, given, values):
    """What is sent of a column to a function that takes these, or the field that is wanted."""
    wanted = wanted if isinstance(wanted, pa.Field) else pa.field("x", wanted)
    batch = pa.record_batch([pa.array(values, given)], names=["_0"])
    arguments = Arguments("f", pa.schema([wanted]), batch.schema, True)
    batch = arguments.of(batch).pyarrow()
    assert batch.schema == arguments.schema
    return batch


@pytest.mark.parametrize(
    "values, given, wanted",
    [
        ([1, None], pa.int32(), pa.float64()),
        ([1, 2**60 + 1], pa.int64(), pa.float64()),
        ([1, None], pa.int64(), pa.uint8()),
        ([Decimal("1.50")], pa.decimal128(3, 2), pa.float64()),
        ([Decimal("1.50000")], pa.decimal128(38, 18), pa.decimal128(10, 2)),
        ([1], pa.int32(), pa.decimal128(20, 0)),
        (["a", None], pa.string(), pa.large_string()),
        (["a", None], pa.string(), pa.dictionary(pa.int32(), pa.string())),
        ([b"ab"], pa.binary(), pa.binary(2)),
        ([WHEN], pa.timestamp("us"), pa.timestamp("ns")),
        ([WHEN], pa.timestamp("us"), pa.timestamp("s")),
        ([WHEN.date()], pa.date32(), pa.timestamp("us")),
        ([[1], None], pa.list_(pa.int32()), pa.large_list(pa.float64())),
        ([{"a": 1}], pa.struct({"a": pa.int32()}), pa.struct({"a": pa.int64()})),
        ([None], pa.null(), pa.list_(pa.string())),
    ],
    ids=str,
)
def test_arguments_become_what_a_function_takes(values, given, wanted):
    batch = sent(wanted, given, values)
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
        sent(wanted, given, [])


def test_a_value_that_does_not_fit_is_an_error():
    batch = pa.record_batch({"_0": pa.array([1, 2])})
    arguments = Arguments("f", pa.schema({"x": pa.uint8()}), batch.schema, True)
    assert arguments.of(batch).num_rows == 2
    with pytest.raises(
        ValueError, match=r"become uint8 for `x` of `f` \(column 1\), in row 3 of the partition, counted from 0: 300 is"
    ):
        arguments.of(pa.record_batch({"_0": pa.array([7, 300])}))
    strict = pa.field("x", pa.int64(), nullable=False)
    with pytest.raises(
        ValueError, match="null for `x` of `f` .*, which takes no nulls, in row 1 of the partition, counted from 0"
    ):
        sent(strict, pa.int64(), [1, None])


def test_results_become_what_spark_takes():
    given = pa.record_batch({"n": pa.array([1, 2**64 - 1], pa.uint64()), "t": pa.array([1_000, 2_000], pa.timestamp("ns"))})
    wanted = pa.schema({"n": pa.decimal128(20, 0), "t": pa.timestamp("us")})
    found = fit("f", given, wanted, 0)
    assert found.schema == wanted and found["n"].to_pylist() == [1, 2**64 - 1]
    odd = pa.record_batch({"t": pa.array([1_000, 1_001], pa.timestamp("ns"))})
    with pytest.raises(
        ValueError,
        match=r"`f` returned for `t` what can't become timestamp\[us\], in row 8 of the partition, .* no whole number",
    ):
        fit("f", odd, pa.schema({"t": pa.timestamp("us")}), 7)
    with pytest.raises(TypeError, match="`f` returned string for `a`, which Spark takes as int64"):
        fit("f", pa.record_batch({"a": ["1"]}), pa.schema({"a": pa.int64()}), 0)
    with pytest.raises(TypeError, match=r"`f` returned 2 columns \(.*\), and Spark takes 1 "):
        fit("f", given, pa.schema({"n": pa.decimal128(20, 0)}), 0)


@pytest.mark.parametrize(
    "given, wanted, cure",
    [
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), "return times with a zone, or take them as `timestamp_ntz`"),
        (pa.float64(), pa.float32(), "cast it there"),
        (pa.float64(), pa.int64(), "cast it there"),
        (pa.int64(), pa.string(), "cast it there"),
        (pa.bool_(), pa.int8(), "cast it there"),
        (pa.decimal128(10, 2), pa.int64(), "cast it there"),
    ],
    ids=str,
)
def test_results_that_would_be_something_else_are_refused(given, wanted, cure):
    with pytest.raises(TypeError, match=f"`f` returned .* for `x`, which Spark takes as .* by itself; .*{cure}"):
        fit("f", pa.record_batch([pa.array([], given)], names=["x"]), pa.schema({"x": wanted}), 0)


def test_text_is_taken_as_it_is_where_the_function_says_so():
    field = pa.field("x", pa.string(), metadata={"anyudf.takes_alike": "true"})
    assert sent(field, pa.large_string(), ["a"]).schema.types == [pa.large_string()]


def test_rows_of_no_columns_are_still_rows():
    batch = pa.record_batch({"_0": pa.array([1, 2, 3])})
    found = Arguments("f", pa.schema([]), batch.schema, False).of(batch)
    assert found.num_rows == 3 and found.schema == pa.schema([])
    with pytest.raises(TypeError, match="takes 0 arguments, and is given 1 column$"):
        Arguments("f", pa.schema([]), batch.schema, True)


def test_arguments_may_be_left_out_or_many():
    default = pa.field("digits", pa.int32(), metadata={"anyudf.default": "2"})
    many = pa.field("more", pa.string(), metadata={"anyudf.variadic": "true"})
    x = pa.field("x", pa.float64())

    def names(arguments, types):
        given = pa.schema([pa.field(f"_{place}", type) for place, type in enumerate(types)])
        return Arguments("f", pa.schema(arguments), given, True).schema.names

    n, text = pa.int64(), pa.string()
    assert names([x, default], [n]) == ["x"]
    assert names([x, default], [n, n]) == ["x", "digits"]
    assert names([x, many], [n]) == ["x"]
    assert names([x, many], [n, text, text]) == ["x", "more", "more"]
    for arguments, given, words in [
        ([x, default], [n, n, n], "takes 1 to 2 arguments .*, and is given 3 columns"),
        ([x], [n, n], r"takes 1 argument \(x: double\), and is given 2 columns"),
        ([x, many], [], "takes at least 1 argument .*, and is given 0 columns"),
    ]:
        with pytest.raises(TypeError, match=words):
            names(arguments, given)


def test_of_several_signatures_the_one_that_fits_is_meant():
    one = lambda type: pa.schema({"x": type})
    function = anyudf.FunctionInfo(
        "f", "scalar", one(pa.uint8()), one(pa.uint8()), overloads=[(one(pa.float64()), one(pa.float64()))]
    )
    for given, meant in [(pa.uint8(), pa.uint8()), (pa.int32(), pa.float64()), (pa.float32(), pa.float64())]:
        assert signature(function, one(given)) == (one(meant), one(meant))
