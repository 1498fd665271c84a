"""What a function holds goes before the caller is told of the end."""

import os
from collections.abc import Iterator

import pyarrow as pa
import pytest

import anyudf


def functions(path):
    """One of each kind, each with something that it holds, and that tells when it goes."""
    host = os.getpid()

    class Held:
        def __del__(self):
            # The one that is pickled goes, too.
            if os.getpid() != host:
                with open(path, "a") as file:
                    file.write("gone\n")

        def check(self, value):
            if value == 13:
                raise ValueError(value)
            return value

    held = Held()

    def scalar(x: int) -> int:
        return held.check(x)

    @anyudf.udf(kind="batch", returns="int64")
    def batch(x: pa.Int64Array):
        held.check(x[0].as_py())
        return x

    @anyudf.udf(kind="map")
    def mapped(batches: Iterator[pa.RecordBatch]):
        for batch in batches:
            held.check(batch["x"][0].as_py())
            yield batch

    @anyudf.udf(kind="table", returns={"x": "int64"})
    def table(*, first: int, rows: int):
        for row in range(rows):
            yield (held.check(first + row),)

    @anyudf.udf(kind="aggregate")
    class aggregate:
        def __init__(self):
            self.held = Held()

        def update(self, x: int):
            self.held.check(x)

        def merge(self, other):
            pass

        def finish(self) -> int:
            return 1

    return {"scalar": scalar, "batch": batch, "map": mapped, "aggregate": aggregate, "table": table}


@pytest.mark.parametrize("end", ["finished", "failed", "cancelled"])
@pytest.mark.parametrize("kind", ["scalar", "batch", "map", "aggregate", "table"])
def test_what_a_function_holds_goes_before_its_end_is_told(python, tmp_path, kind, end):
    path = tmp_path / "gone"
    function = functions(path)[kind]
    options, given = None, {"x": [13 if end == "failed" else 1]}
    if kind == "table":
        options, given = {"first": 13 if end == "failed" else 14, "rows": 3 if end == "finished" else 10**9}, None
    with python.session(function, options=options, input_schema=pa.schema({"x": pa.int64()})) as session:
        if end == "failed":
            with pytest.raises(anyudf.UserError, match="13"):
                list(session.process(given))
        elif end == "finished":
            list(session.process(given))
        else:
            assert not path.exists()
    assert session.ended == end
    assert path.read_text() == "gone\n"
