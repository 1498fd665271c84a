"""One call."""

import sys
import types

import pyarrow as pa
import pytest

import anyudf
from anyudf import progress


def test_a_name_and_a_table():
    assert anyudf.run("echo_batches", {"x": [1, 2]}).to_pydict() == {"x": [1, 2]}
    assert anyudf.run("generate_series", options={"start": 1, "stop": 3})["value"].to_pylist() == [1, 2, 3]


def test_an_ordinary_function_runs_in_a_process_of_its_own():
    import os

    def where(x: int) -> int:
        import os

        return os.getpid()

    assert anyudf.run(where, {"x": [1]})["where"][0].as_py() != os.getpid()


def test_functions_have_options():
    @anyudf.udf
    def rounded(x: float, *, digits: int = 0) -> float:
        return round(x, digits)

    assert anyudf.run(rounded, {"x": [3.14159]}, options={"digits": 2})["rounded"].to_pylist() == [3.14]


def test_a_function_without_hints_says_what_it_lacks():
    with pytest.raises(TypeError, match="type hint"):
        anyudf.run(lambda x: x, {"x": [1]})


def test_a_function_that_can_not_travel_says_why():
    lock = __import__("threading").Lock()

    def holds(x: int) -> int:
        with lock:
            return x

    with pytest.raises(TypeError, match="lock"):
        anyudf.run(holds, {"x": [1]})


def test_append_gives_the_table_with_a_column_more():
    def doubled(x: int) -> int:
        return 2 * x

    table = pa.table({"a": ["p", "q"], "x": [1, None]})
    wider = anyudf.run(doubled, table, args=["x"], append="y")
    assert wider.to_pydict() == {"a": ["p", "q"], "x": [1, None], "y": [2, None]}
    polars = pytest.importorskip("polars")
    assert anyudf.run(doubled, polars.from_arrow(table), args=["x"], append="y").column_names == ["a", "x", "y"]
    with pytest.raises(anyudf.MisuseError, match="'x' already"):
        anyudf.run(doubled, table, args=["x"], append="x")
    with pytest.raises(anyudf.MisuseError, match="one value a row"):
        anyudf.run("explode_words", table, args=["a"], append="y")


def test_workers_are_kept_for_the_next_call():
    from anyudf import running

    for _ in range(3):
        anyudf.run("echo_batches", {"x": [1]})
    kept = [dispatcher for dispatcher in running._kept.values() if dispatcher.catalog()]
    assert [dispatcher.stats()["starts"] for dispatcher in kept] == [1]


def test_progress_is_told():
    told = []
    anyudf.run("echo_batches", pa.table({"x": range(10)}), progress=lambda done, total: told.append((done, total)))
    assert told == [(10, 10)]


def test_a_bar_is_shown_where_it_is_asked_for(capsys):
    pytest.importorskip("tqdm")
    anyudf.run("echo_batches", {"x": [1]}, progress=True)
    assert "echo_batches" in capsys.readouterr().err
    anyudf.run("echo_batches", {"x": [1]})
    assert capsys.readouterr().err == ""


def test_notebooks_have_one_if_tqdm_is_there(monkeypatch):
    pytest.importorskip("tqdm")
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(progress.reporter(None, "f", 1), progress._Bar)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert not isinstance(progress.reporter(None, "f", 1), progress._Bar)


def test_modules_that_are_found_here_are_found_there(tmp_path, monkeypatch):
    (tmp_path / "found_here_alone.py").write_text("import anyudf\n\n@anyudf.udf\ndef f(x: int) -> int:\n    return x + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import found_here_alone

    assert anyudf.run(found_here_alone.f, {"x": [1]})["f"].to_pylist() == [2]


def test_jobs_divide_rows_and_keep_their_order():
    def doubled(x: int) -> int:
        import time

        time.sleep(0.001 * (x % 3))
        return 2 * x

    batches = [pa.record_batch({"x": list(range(row, row + 7))}) for row in range(0, 350, 7)]
    result = anyudf.run(doubled, iter(batches), jobs=3)
    assert result["doubled"].to_pylist() == list(range(0, 700, 2))
    table = pa.table({"x": range(200_000), "y": [0] * 200_000})
    miles = anyudf.run("distance_miles", table, args=[0, 1, 1, 1], jobs=2, append="miles")
    assert miles.equals(anyudf.run("distance_miles", table, args=[0, 1, 1, 1], append="miles"))


def test_jobs_fail_together():
    def picky(x: int) -> int:
        if x == 300:
            raise ValueError("not that one")
        return x

    batches = [{"x": [row]} for row in range(100_000)]
    with pytest.raises(anyudf.UserError, match="not that one"):
        anyudf.run(picky, iter(batches), jobs=2)

    def failing():
        yield {"x": [1]}
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        anyudf.run(picky, failing(), jobs=2)


def test_jobs_are_for_scalar_functions():
    with pytest.raises(anyudf.MisuseError, match="of kind map"):
        anyudf.run("explode_words", {"text": ["a"]}, jobs=2)
    with pytest.raises(anyudf.MisuseError, match="there is none"):
        anyudf.run("generate_series", jobs=2)
