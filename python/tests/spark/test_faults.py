"""What goes wrong: the answer is right all the same, or the error says what it was, and no process is left behind."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import anyudf
import anyudf.spark

from .conftest import applied, eventually, gone, processes, pythons, workers


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


class Gate:
    """Where functions wait until the test lets them go on. It is known by its path in any process."""

    def __init__(self, place):
        self.place = str(place)

    def function(self):
        """A function over batches that passes the gate, and gives its input back."""
        place = self.place

        @anyudf.udf(kind="batch", returns="int64", volatility="immutable")
        def held(x: pa.Int64Array):
            import os
            import time
            from pathlib import Path

            Path(place, f"{os.getpid()}.here").touch()
            while not Path(place, "open").exists():
                time.sleep(0.01)
            return x

        return held

    def open(self):
        Path(self.place, "open").touch()

    def here(self):
        """The processes that have come to it."""
        return [int(file.stem) for file in Path(self.place).glob("*.here")]


@contextmanager
def asked(query, gate):
    """The query's answer, which comes on another thread. Whatever becomes of the test, the functions go on in the end."""
    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(query)
        finally:
            gate.open()


def held_query(spark, gate, **said):
    return applied(spark.range(0, 20_000, 1, 4), gate.function(), "id", **said).agg(F.sum("value")).collect


def failing(spark, function, **said):
    """The text of the error that a query with this function fails with."""
    with pytest.raises(Exception) as caught:
        applied(spark.range(0, 10, 1, 1), function, "id", **said).collect()
    return str(caught.value)


def test_a_function_that_raises_fails_the_query_with_its_own_words(spark):
    @anyudf.udf
    def picky(x: int) -> int:
        if x == 7:
            raise LookupError("no such place as 7")
        return x

    text = failing(spark, picky)
    assert "LookupError" in text and "no such place as 7" in text and "in picky" in text
    assert "row 7" in text


@pytest.mark.parametrize("kind", ["exit", "length", "type"])
def test_so_does_one_that_does_something_else(spark, kind):
    @anyudf.udf(kind="batch", returns="int64")
    def odd(x: pa.Int64Array):
        import sys

        match kind:
            case "exit":
                sys.exit(3)
            case "length":
                return x[:-1]
            case "type":
                return x.cast("string")

    words = {"exit": "sys.exit(3)", "length": "rows", "type": "Utf8"}[kind]
    text = failing(spark, odd)
    assert "odd" in text and words in text


def test_a_worker_that_dies_by_its_function_fails_the_query(spark):
    @anyudf.udf
    def crash(x: int) -> int:
        import ctypes

        return ctypes.string_at(0)

    text = failing(spark, crash)
    assert "the worker died" in text and "SIGSEGV" in text and "in crash" in text


def test_a_function_that_hangs_is_ended_in_time(spark):
    @anyudf.udf
    def hang(x: int) -> int:
        while True:
            pass

    text = failing(spark, hang, timeout=0.5)
    assert "[CALL_TIMEOUT] `hang`" in text and "500 ms" in text
    # Spark's Python process ends with its failed task, and the worker with that.
    assert gone()


def test_what_it_prints_harms_nobody(spark):
    @anyudf.udf(volatility="immutable")
    def loud(x: int) -> int:
        print("x" * 1_000_000)
        return x

    assert applied(spark.range(20), loud, "id").agg(F.sum("value")).collect() == [(190,)]


@pytest.mark.parametrize("who", ["worker", "python"])
def test_what_is_killed_in_the_middle_is_done_again(spark, gate, who):
    with asked(held_query(spark, gate), gate) as answer:
        (first, *_) = eventually(gate.here)
        victims = [process for process in processes() if process.pid == first] if who == "worker" else pythons()[:1]
        assert victims and victims[0].kill()
        gate.open()
        assert answer.result() == [(sum(range(20_000)),)]
    if who == "python":
        # Its worker ends with it: nobody else would know of it.
        assert eventually(lambda: len(workers()) <= len(pythons()))


def test_a_worker_that_is_killed_each_time_is_an_error(spark):
    @anyudf.udf
    def kill(x: int) -> int:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    text = failing(spark, kill)
    assert "the worker died" in text and "SIGKILL" in text


@pytest.mark.parametrize("interrupt", [False, True])
def test_a_killed_task_ends_its_session(spark, gate, interrupt):
    query, group = held_query(spark, gate), f"to be cancelled {interrupt}"

    def grouped():
        spark.sparkContext.setJobGroup(group, "a query", interruptOnCancel=interrupt)
        return query()

    with asked(grouped, gate) as answer:
        assert eventually(gate.here)
        spark.sparkContext.cancelJobGroup(group)
        with pytest.raises(Exception, match="cancelled"):
            answer.result()
        # The function never looks up, so Spark kills its Python process, and the worker ends with it.
        held = set(gate.here())
        assert eventually(lambda: not held & {process.pid for process in workers()})


def test_a_function_that_can_not_travel_is_refused_on_the_driver(spark):
    lock = __import__("threading").Lock()

    @anyudf.udf
    def locked(x: int) -> int:
        with lock:
            return x

    with pytest.raises(TypeError, match="`locked` can't be sent to a worker, because of `lock`"):
        applied(spark.range(3), locked, "id")


def test_a_module_that_the_worker_lacks_is_named(spark, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def same(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    @anyudf.udf
    def borrowed(x: int) -> int:
        return only_here.same(x)

    assert "only_here" in failing(spark, borrowed)


def test_a_worker_that_is_not_there_is_an_error_that_says_so(spark):
    with pytest.raises(anyudf.LaunchError, match="no-such-worker"):
        applied(spark.range(3), "f", "id", worker=["no-such-worker"])
    with pytest.raises(Exception, match="no-such-worker"):
        applied(spark.range(3), "f", "id", worker=["no-such-worker"], returns="long").collect()
