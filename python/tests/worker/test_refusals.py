"""What a function returns and is not its result is refused: no row is lost, no value becomes another, no column another one."""

import datetime
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
import pytest

import anyudf


def refused(function, *columns):
    with pytest.raises(RuntimeError) as raised:
        function.test(*columns)
    return str(raised.value)


@pytest.mark.parametrize("given", [[1, 2, 3, 4], [1, None, 3, 4]])
def test_a_row_that_raises_stop_iteration_is_no_end_of_rows(given):
    @anyudf.udf
    def found(x: int) -> int:
        return next(y for y in (1, 2, 4) if y == x)

    text = refused(found, given)
    assert text.startswith("StopIteration") and "row 2" in text and "default" in text, text


def test_nor_of_what_an_aggregate_takes():
    @anyudf.udf(kind="aggregate")
    class Sum:
        def __init__(self):
            self.sum = 0

        def update(self, x: int):
            self.sum += next(y for y in (1, 2, 4) if y == x)

        def merge(self, other):
            self.sum += other.sum

        def finish(self) -> int:
            return self.sum

    assert "StopIteration" in refused(Sum, {"x": [1, 2, 3, 4]})


@dataclass
class Pair:
    n: int
    s: str


@pytest.mark.parametrize(
    "returns, value, word",
    [
        (list[int], [1.9], "float"),
        (dict[str, int], {"a": 1.9}, "float"),
        (Pair, Pair(1.9, "x"), "float"),
        (Pair, {"n": 1, "S": "x"}, "no field `S`"),
        (datetime.datetime, datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc), "a time zone"),
    ],
)
def test_no_value_becomes_another(returns, value, word):
    def made(x: int):
        return value

    made.__annotations__["return"] = returns
    text = refused(anyudf.udf(made), [1, 2])
    assert "WRONG_RESULT_TYPE" in text and "row 0" in text and word in text, text


def test_columns_go_by_their_names_or_not_at_all():
    def yields(**columns):
        @anyudf.udf(kind="map", returns={"a": "int64", "b": "int64"})
        def renamed(batches):
            for _ in batches:
                yield pa.record_batch(columns)

        return renamed

    given = {"x": [0]}
    assert yields(b=[2], a=[1]).test(given).to_pylist() == [{"a": 1, "b": 2}]
    assert yields(x=[1], y=[2]).test(given).to_pylist() == [{"a": 1, "b": 2}], "none of them: by place"
    assert "no `a`" in refused(yields(b=[2], A=[1]), given)


def test_columns_that_are_called_alike_go_by_place():
    @anyudf.udf(kind="map")
    def same(batches):
        yield from batches

    joined = pa.RecordBatch.from_arrays([pa.array([1, 2]), pa.array([30, 40])], names=["a", "a"])
    assert [column.to_pylist() for column in same.test(joined).columns] == [[1, 2], [30, 40]]


def test_who_may_send_anything_needs_a_token_on_a_port():
    command = [sys.executable, "-m", "anyudf.worker", "--connection", "1"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": ""})
    assert asked.returncode == 2 and "ANYUDF_TOKEN" in asked.stderr, asked


def test_two_functions_of_one_name_are_not_served():
    def f(x: int) -> int:
        return x

    one, other = anyudf.udf(f), anyudf.udf(f, name="g", aliases=["f"])
    with pytest.raises(TypeError, match="two functions called `f`"):
        anyudf.serve(one, other, arguments=["--connection", "nowhere"])
