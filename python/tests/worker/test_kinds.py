"""Functions over whole arrays, without input, over batches, and for all rows."""

import dataclasses
import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from anyudf import udf


def fails(function, *columns):
    with pytest.raises(RuntimeError) as error:
        function.test(*columns)
    return str(error.value)


# ---- batch


def add(a: pa.Int64Array, b: pa.Int64Array):
    return pc.add(a, b)


def test_whole_arrays():
    total = udf(add, kind="batch", returns="int64")
    assert total.test([1, 2, None], [10, None, None]).to_pylist() == [11, None, None]
    assert total(pa.array([1]), pa.array([2])).to_pylist() == [3]


def test_nulls_become_null_unless_they_are_values():
    ones = lambda x: pa.array([1] * len(x))
    assert udf(ones, kind="batch", arguments=[int], returns=int).test([5, None]).to_pylist() == [1, None]
    assert udf(ones, kind="batch", arguments=[int], returns=int, nulls="values").test([5, None]).to_pylist() == [1, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x,
        lambda x: pa.chunked_array([x[:1], x[1:]]),
        lambda x: x.to_pylist(),
        lambda x: x.to_numpy(zero_copy_only=False),
        lambda x: pl.from_arrow(x),
        lambda x: pd.Series(x.to_numpy(zero_copy_only=False)),
        lambda x: pl.from_arrow(x).to_arrow(),
    ],
)
def test_results_of_other_libraries(make):
    for kind, values in (("int64", [1, 2, 3]), ("string", ["a", "b", "c"])):
        function = udf(make, kind="batch", arguments=[kind], returns=kind, name="same")
        assert function.test(values).to_pylist() == values
        assert function.test(values).type == kind


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: x[:1], "WRONG_RESULT_LENGTH: `odd`, batch 1: a scalar function was given 2 rows and returned 1"),
        (lambda x: x.cast("string"), "WRONG_RESULT_TYPE: `odd`, batch 1: the function declares Int64 and returned Utf8"),
        (lambda x: pa.scalar(1), "WRONG_RESULT_TYPE: `odd`, batch 1: it returned <pyarrow.Int64Scalar: 1>"),
        (lambda x: None, "WRONG_RESULT_TYPE: `odd`, batch 1: it returned None (NoneType) and not an array"),
        (lambda x: "ab", "it returned 'ab' (str) and not an array"),
        (lambda x: ["a", "b"], "it returned list, which is no array of int64"),
        (lambda x: pc.divide(x, 0), "pyarrow.lib.ArrowInvalid: `odd`, batch 1: divide by zero"),
    ],
)
def test_wrong_results_of_whole_arrays(make, words):
    assert words in fails(udf(make, kind="batch", arguments=[int], returns=int, name="odd"), [1, 2])


# ---- table


@dataclasses.dataclass
class Row:
    n: int
    text: str


@pytest.mark.parametrize(
    "rows",
    [
        [(1, "a"), (2, "b")],
        [[1, "a"], [2, "b"]],
        [{"n": 1, "text": "a"}, {"text": "b", "n": 2}],
        [Row(1, "a"), Row(2, "b")],
        [pa.RecordBatch.from_pydict({"n": [1, 2], "text": ["a", "b"]})],
        [pa.table({"text": ["a"], "n": [1]}), pa.RecordBatch.from_pydict({"n": [2], "text": ["b"]})],
        [pl.DataFrame({"n": [1, 2], "text": ["a", "b"]})],
        pa.table({"n": [1, 2], "text": ["a", "b"]}),
    ],
)
def test_tables_yield_rows_or_batches(rows):
    function = udf(lambda: iter(rows) if isinstance(rows, list) else rows, kind="table", returns=Row, name="t")
    assert function.test().to_pylist() == [{"n": 1, "text": "a"}, {"n": 2, "text": "b"}]


def test_tables_have_options():
    @udf(kind="table", returns={"n": "int64"})
    def series(stop: int, step: int = 1):
        yield from range(0, stop, step)

    assert series.with_options(stop=100_000).test()["n"].to_pylist() == list(range(100_000))
    assert series.with_options(stop=5, step=2).test()["n"].to_pylist() == [0, 2, 4]
    assert series.with_options(stop=0).test().num_rows == 0
    assert "TypeError: `series`: " in fails(series) and "stop" in fails(series)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1,)], "a row has 1 values, and there are 2 columns"),
        ([1], "a row is 1 (int), and there are 2 columns; yield tuples"),
        ([{"n": 1, "txt": "a"}], "a row has the column `txt`, and there are n, text"),
        ([("a", "b")], "it returned 'a' (str), and its result is int64"),
        (7, "a table function yields rows or batches; it returned 7 (int)"),
        (
            [pa.RecordBatch.from_pydict({"n": ["a"], "text": ["a"]})],
            "column `n`: the function declares Int64 and returned Utf8",
        ),
        ([pa.RecordBatch.from_pydict({"n": [1]})], "yielded a batch of 1 columns, and its result has 2"),
    ],
)
def test_wrong_rows_of_tables(rows, words):
    assert words in fails(udf(lambda: rows, kind="table", returns=Row, name="t"))


# ---- map


def test_maps_take_and_yield_batches():
    @udf(kind="map", returns={"n": "int64"})
    def evens(batches):
        for batch in batches:
            assert isinstance(batch, pa.RecordBatch)
            yield batch.filter(pc.equal(pc.bit_wise_and(batch["n"], 1), 0))

    batches = pa.table({"n": list(range(10))}).to_batches(max_chunksize=4)
    assert evens.test(*batches)["n"].to_pylist() == [0, 2, 4, 6, 8]
    assert evens.test(pa.table({"n": pa.array([], pa.int64())})).num_rows == 0


def test_a_maps_result_has_the_columns_of_its_input_without_a_word():
    same = udf(lambda batches: batches, kind="map", name="same")
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    assert same.test(table).to_pylist() == table.to_pylist()
    assert same.test({"a": [1]}).to_pylist() == [{"a": 1}]


def test_maps_may_look_ahead_stop_early_and_go_on():
    def counts(batches):
        first = next(batches)
        yield first.slice(0, 1)
        rest = list(batches)
        yield pa.RecordBatch.from_pydict({"n": [sum(batch.num_rows for batch in rest)]})

    table = pa.table({"n": list(range(10))}).to_batches(max_chunksize=3)
    assert udf(counts, kind="map", returns={"n": "int64"}).test(*table)["n"].to_pylist() == [0, 7]
    first = udf(lambda batches: [next(batches)], kind="map", name="first")
    assert first.test(*table)["n"].to_pylist() == [0, 1, 2]


def test_wrong_maps():
    batch = pa.RecordBatch.from_pydict({"n": [1]})

    def make(result):
        return udf(lambda batches: result, kind="map", returns={"n": "int64"}, name="m")

    assert "a map function yields batches; it returned one. Write `yield`" in fails(make(batch), batch)
    assert "it returned None (NoneType)" in fails(make(None), batch)
    assert "the function yields batches, and yielded int" in fails(make([1]), batch)

    @udf(kind="map")
    def late(batches):
        yield from batches
        raise ValueError("too late")

    assert fails(late, batch) == "ValueError: `late`: too late"


# ---- aggregate


@udf(kind="aggregate")
class mean:
    """The mean of numbers."""

    def __init__(self, start: float = 0.0):
        self.sum, self.count = start, 0

    def update(self, x: float):
        self.sum += x
        self.count += 1

    def merge(self, other):
        self.sum += other.sum
        self.count += other.count

    def finish(self) -> float | None:
        return self.sum / self.count if self.count else None


def test_aggregates():
    assert mean.test({"x": [1.0, None, 3.0]})["mean"].to_pylist() == [2.0]
    assert mean.test({"x": pa.array([], pa.float64())})["mean"].to_pylist() == [None]
    assert mean.with_options(start=4.0).test({"x": [2.0]})["mean"].to_pylist() == [6.0]
    assert (mean.help, mean.arguments.names) == ("The mean of numbers.", ["x"])
    assert mean().count == 0


def test_parts_of_aggregates_are_json():
    from anyudf import _calls

    left = mean()
    left.update(1.0)
    state = json.loads(_calls.state(left))
    assert state == {"sum": 1.0, "count": 1}
    again = _calls.begin(mean._bound({"partial": True, "states": []}), [state, state])
    assert again.count == 2

    @udf(kind="aggregate")
    class odd:
        def __init__(self):
            self.seen = {1}

        def update(self, x: int): ...
        def merge(self, other): ...
        def finish(self) -> int: ...

    with pytest.raises(TypeError, match="the state is no JSON"):
        _calls.state(odd())


def test_aggregates_that_fail():
    @udf(kind="aggregate")
    class picky:
        def update(self, x: int):
            if x < 0:
                raise ValueError(f"{x} is below 0")

        def merge(self, other): ...

        def finish(self) -> int:
            return "done"

    assert fails(picky, {"x": [1, None, -1]}) == "ValueError: `picky`, batch 1: row 2: -1 is below 0"
    assert "it returned 'done' (str), and its result is int64" in fails(picky, {"x": [1]})
