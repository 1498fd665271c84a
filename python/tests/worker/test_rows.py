"""Functions over rows: values of each type in and out, nulls, rows that fail, and arguments that are left out or many."""

import dataclasses
import datetime
import decimal
from typing import Annotated

import pyarrow as pa
import pytest

from anyudf import udf


@dataclasses.dataclass
class Place:
    name: str
    height: float | None
    opened: datetime.date


DAY, MOMENT = datetime.date(2001, 2, 28), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)

VALUES = [
    (bool, [True, False, None]),
    (int, [0, -(2**63), 2**63 - 1, None]),
    (float, [0.5, float("inf"), -0.0, None]),
    (str, ["", "Zürich", "🐍", None]),
    (bytes, [b"", b"\0\xff", None]),
    (datetime.date, [DAY, datetime.date.min, datetime.date.max, None]),
    (datetime.time, [datetime.time(23, 59, 59, 999999), datetime.time(0), None]),
    (datetime.datetime, [MOMENT, datetime.datetime.min, datetime.datetime.max, None]),
    (datetime.timedelta, [datetime.timedelta(days=-3, microseconds=1), datetime.timedelta(0), None]),
    (Annotated[decimal.Decimal, "decimal128(10, 2)"], [decimal.Decimal("12.34"), decimal.Decimal("-0.01"), None]),
    (Annotated[datetime.datetime, "timestamp[ms]"], [datetime.datetime(2001, 2, 3, 4, 5, 6), None]),
    (Annotated[int, "uint8"], [0, 255, None]),
    (Annotated[int, "int16"], [-(2**15), None]),
    (Annotated[int, "uint64"], [2**64 - 1, None]),
    (Annotated[float, "float"], [1.5, None]),
    (Annotated[str, "large_string"], ["a", None]),
    (Annotated[bytes, "binary[2]"], [b"ab", None]),
    (Annotated[str, "dictionary<int32, string>"], ["a", "b", "a", None]),
    (Annotated[list, "fixed_size_list<int64>[2]"], [[1, 2], [3, 4], None]),
    (list[int], [[1, 2], [], None]),
    (list[list[str | None]], [[["a", None], []], [], None]),
    (dict[str, int], [{"a": 1}, {}, None]),
    (Place, [Place("Zugspitze", 2962.0, DAY), Place("?", None, DAY), None]),
    (list[Place], [[Place("Zugspitze", 2962.0, DAY)], [], None]),
    (Annotated[dict, "struct<a: int64, b: string>"], [{"a": 1, "b": None}, None]),
]


@pytest.mark.parametrize(("hint", "values"), VALUES, ids=lambda value: getattr(value, "__name__", None) or str(value)[:30])
def test_values_go_in_and_out(hint, values):
    seen = []

    def same(value):
        seen.append(value)
        return value

    same.__annotations__ = {"value": hint, "return": hint}
    function = udf(same)
    kind = function.arguments.field(0).type
    write = function._writer or (lambda value: value)
    column = pa.array([write(value) for value in values], type=kind)
    result = function.test(column)
    assert result.equals(column) and result.type == kind
    assert seen == values[:-1], "values are Python's, and null is not asked about"
    assert list(map(type, seen)) == list(map(type, values[:-1]))

    same.__annotations__ = {"value": hint | None if isinstance(hint, type) else None or hint, "return": hint}
    seen.clear()
    nulls = udf(same, nulls="values").test(column)
    assert nulls.equals(column) and len(seen) == len(values)


def test_nulls_in_give_nulls_out_unless_they_are_asked_for():
    calls = []

    @udf
    def add(a: int, b: int | None) -> int | None:
        calls.append((a, b))
        return None if b is None else a + b

    assert add.test([1, None, 3, None], [1, 2, None, None]).to_pylist() == [2, None, None, None]
    assert calls == [(1, 1), (3, None)]


def test_many_rows_and_no_rows():
    @udf
    def double(x: int) -> int:
        return 2 * x

    column = pa.array([None if x % 3 == 0 else x for x in range(20_000)])
    assert double.test(column).to_pylist() == [None if x % 3 == 0 else 2 * x for x in range(20_000)]
    assert double.test([]).to_pylist() == []
    assert double.test([None, None]).to_pylist() == [None, None]
    assert double.test(column.slice(4, 2)).to_pylist() == [8, 10]


def test_no_arguments():
    count = iter(range(10))
    assert udf(lambda: next(count), returns=int, name="n").test().to_pylist() == [0]


def test_columns_of_alike_types_are_taken():
    length = udf(lambda text: len(text), arguments=[str], returns=int, name="length")
    views = [pa.string_view()] if hasattr(pa, "string_view") else []
    for kind in (pa.string(), pa.large_string(), *views):
        assert length.test(pa.array(["abc", None], type=kind)).to_pylist() == [3, None]


def test_defaults_and_variadics():
    @udf
    def rounded(x: float, digits: int = 2) -> float:
        return round(x, digits)

    assert rounded.test([3.14159]).to_pylist() == [3.14]
    assert rounded.test([3.14159], [3]).to_pylist() == [3.142]

    @udf
    def joined(separator: str, *texts: str) -> str:
        return separator.join(texts)

    assert joined.test(["-"], ["a"], ["b"], ["c"]).to_pylist() == ["a-b-c"]
    assert joined.test(["-"]).to_pylist() == [""]
    assert joined.test(["-", "-"], ["a", None]).to_pylist() == ["a", None]

    @udf
    def count(*texts: str | None) -> int:
        return sum(text is not None for text in texts)

    assert count.test(["a", None], [None, None]).to_pylist() == [1, 0]


def failing(x: int) -> int:
    return 100 // x


def test_on_error_fail_names_the_row():
    with pytest.raises(RuntimeError) as error:
        udf(failing).test([None, 1, 2, 0, 3])
    assert str(error.value) == "ZeroDivisionError: `failing`, batch 1: row 3: integer division or modulo by zero"


def test_on_error_null():
    assert udf(failing, on_error="null").test([1, 0, None, 50]).to_pylist() == [100, None, None, 2]


def test_on_error_collect():
    words = "integer division or modulo by zero"
    row = lambda value, error: {"value": value, "error": error}
    collected = udf(failing, on_error="collect").test([1, 0, None, 50])
    assert collected.to_pylist() == [row(100, None), row(None, words), row(None, None), row(2, None)]
    assert collected.null_count == 0


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, None, 2**31 - 1, 1], pa.date32()),
        pa.array([0, None, 2**62, 1], pa.timestamp("us")),
        pa.array([0, None, 2**62, 1], pa.timestamp("s", "UTC")),
        pa.array([[0], None, [2**31 - 1], [1]], pa.list_(pa.date32())),
        pa.array([{"day": 0}, None, {"day": -(2**31)}, {"day": 1}], pa.struct({"day": pa.date32()})),
    ],
)
def test_a_value_that_python_does_not_have_is_its_rows_error(column):
    def seen(value, other: int):
        return other

    def test(on_error):
        made = udf(seen, arguments={"value": column.type, "other": int}, returns=int, on_error=on_error)
        return made.test(column, [0, 1, 2, 3])

    with pytest.raises(RuntimeError, match="`seen`, batch 1: row 2: "):
        test("fail")
    assert test("null").to_pylist() == [0, None, None, 3]
    collected = test("collect").to_pylist()
    assert [row["value"] for row in collected] == [0, None, None, 3]
    assert [bool(row["error"]) for row in collected] == [False, False, True, False]


@pytest.mark.parametrize(
    ("returns", "value", "words"),
    [
        (int, "a", "it returned 'a' (str), and its result is int64"),
        (int, 2.5, "it returned 2.5 (float), and its result is int64"),
        (int, 2**63, "and its result is int64"),
        ("int8", 128, "it returned 128 (int), and its result is int8"),
        (str, 1, "it returned 1 (int), and its result is string"),
        (list[int], 1, "and its result is list<item: int64>"),
        (Place, 1, "it returned 1 (int)"),
    ],
)
def test_results_of_another_type_are_told(returns, value, words):
    def odd(x: int):
        return value if x == 2 else None

    odd.__annotations__["return"] = returns
    function = udf(odd, returns=None if not isinstance(returns, str) else returns)
    with pytest.raises(RuntimeError) as error:
        function.test([0, None, 1, 2, 2])
    assert str(error.value).startswith("WRONG_RESULT_TYPE: `odd`, batch 1: row 3: "), error.value
    assert words in str(error.value)
    if not isinstance(returns, str):
        collected = udf(odd, on_error="collect").test([0, 2]).to_pylist()
        assert collected[0] == {"value": None, "error": None} and words in collected[1]["error"]


def test_exit_and_others_that_are_no_exceptions_are_errors():
    def leaves(x: int) -> int:
        raise SystemExit(x)

    for how in ("fail", "null", "collect"):
        with pytest.raises(RuntimeError, match=r"SystemExit: `leaves`, batch 1: .*called sys.exit\(3\)"):
            udf(leaves, on_error=how).test([3])

    def stops(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(RuntimeError, match="KeyboardInterrupt: `stops`, batch 1: row 0: KeyboardInterrupt"):
        udf(stops).test([3])


def test_wrong_columns_are_refused():
    @udf
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(RuntimeError, match="WRONG_ARGUMENT_COUNT: .*`add` takes 2 arguments"):
        add.test([1])
    with pytest.raises(RuntimeError, match="WRONG_ARGUMENT_TYPE: .*must be Int64"):
        add.test(pa.array([1.5]), pa.array([1]))
