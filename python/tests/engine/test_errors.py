"""What goes wrong says whose fault it was, and what to try."""

import builtins
import json
import os
import pickle
import signal
import sys

import pyarrow as pa
import pytest

import anyudf
from anyudf.settings import Settings


def one_row(dispatcher, function, **said):
    return anyudf.run(function, {"x": [1]}, worker=dispatcher, **said)


def test_the_functions_own_error_has_its_class_and_its_frames(python):
    def inner(x):
        raise LookupError(f"nothing for {x}")

    def outer(x: int) -> int:
        return inner(x)

    with pytest.raises(anyudf.UserError, match="nothing for 1") as raised:
        one_row(python, outer)
    error = raised.value
    assert (error.kind, error.condition) == ("user", "LookupError")
    assert "in outer" in error.remote_traceback and "in inner" in error.remote_traceback
    assert "in inner" in str(error), "it is shown"
    assert "Traceback" not in error.message


def test_r4_an_unknown_function_names_those_that_are_there(dispatcher):
    with pytest.raises(anyudf.UserError, match="echo_batches") as raised:
        one_row(dispatcher, "ecko_batches")
    assert raised.value.condition == "UNKNOWN_FUNCTION"


def test_errors_cross_processes():
    error = anyudf.UserError("[KeyError] 'a'", condition="KeyError", remote_traceback="File …")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is anyudf.UserError
    assert (again.condition, again.remote_traceback, str(again)) == (error.condition, error.remote_traceback, str(error))


def test_every_kind_is_an_error():
    for kind in (
        anyudf.UserError,
        anyudf.WorkerError,
        anyudf.ViolationError,
        anyudf.MisuseError,
        anyudf.LaunchError,
        anyudf.TransportError,
        anyudf.TimeoutError,
        anyudf.CancelledError,
    ):
        assert issubclass(kind, anyudf.Error) and issubclass(kind, Exception)
    assert issubclass(anyudf.TimeoutError, builtins.TimeoutError)


@pytest.mark.parametrize("worker", ["no-such-program-at-all", ["no-such-program-at-all", "worker"]])
def test_d6_a_program_that_is_not_there(worker):
    with anyudf.Dispatcher(worker, start_attempts=1) as dispatcher:
        with pytest.raises(anyudf.LaunchError, match="no-such-program-at-all.*PATH") as raised:
            one_row(dispatcher, "f")
        assert raised.value.condition == "WORKER_NOT_FOUND"


def test_d6_a_worker_that_exits_shows_its_last_words():
    worker = [sys.executable, "-c", "import sys; sys.exit('no licence on this machine')"]
    with anyudf.Dispatcher(worker, start_attempts=1) as dispatcher:
        with pytest.raises(anyudf.LaunchError, match="(?s)exit status: 1.*no licence on this machine"):
            one_row(dispatcher, "f")


def test_d2_a_worker_that_never_answers():
    worker = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with anyudf.Dispatcher(worker, start_attempts=1, start_timeout=0.3) as dispatcher:
        with pytest.raises(anyudf.Error) as raised:
            one_row(dispatcher, "f")
        assert raised.value.kind in ("launch", "timeout")


def test_d1_a_specification_with_faults_starts_nothing(tmp_path):
    specification = {"direct": {"runner": {"command": []}}}
    path = tmp_path / "worker.json"
    path.write_text(json.dumps(specification))
    for worker in (specification, str(path), path):
        with pytest.raises(anyudf.MisuseError, match="command"):
            anyudf.Dispatcher(worker)
    with pytest.raises(anyudf.MisuseError, match="can't read the worker specification"):
        anyudf.Dispatcher(tmp_path / "none.json")
    with pytest.raises(anyudf.MisuseError, match="quote"):
        anyudf.Dispatcher("worker 'open")
    with pytest.raises(anyudf.MisuseError, match="command is empty"):
        anyudf.Dispatcher([])


def specified() -> dict:
    """The functions that come with anyudf, by a specification."""
    program, *arguments = anyudf.engine.bundled()
    return {
        "capabilities": {
            "supportedDataFormats": ["ARROW"],
            "supportedCommunicationPatterns": ["BIDIRECTIONAL_STREAMING"],
            "supportsReuse": True,
        },
        "direct": {
            "runner": {"command": [program], "arguments": arguments},
            "properties": {"connection": {"unixDomainSocket": {}}},
        },
    }


def test_a_specification_is_a_worker(tmp_path):
    specification = specified()
    path = tmp_path / "worker.json"
    path.write_text(json.dumps(specification))
    for worker in (specification, str(path), path):
        with anyudf.Dispatcher(worker) as dispatcher:
            assert one_row(dispatcher, "echo_batches").num_rows == 1
            assert one_row(dispatcher, "echo_batches").num_rows == 1
            assert dispatcher.stats()["starts"] == 1


def test_keywords_that_make_no_sense():
    with pytest.raises(TypeError, match="takes no `max_worker`; did you mean `max_workers`"):
        anyudf.Dispatcher(max_worker=1)
    with pytest.raises(TypeError, match="takes no `colour`; there are max_workers, min_idle, "):
        anyudf.Dispatcher(colour="red")
    with pytest.raises(ValueError, match="wait_timeout=-1"):
        anyudf.Dispatcher(wait_timeout=-1)
    with pytest.raises(TypeError):
        anyudf.Dispatcher(max_workers="many")


@pytest.mark.parametrize("name", Settings.__annotations__)
def test_each_setting_is_one_of_the_engines(name):
    with anyudf.Dispatcher(["never-started"], **{name: 0 if name == "min_idle" else 1 if name != "pipelining" else True}):
        pass


def test_d10_who_waits_too_long_is_told_so():
    schema = pa.schema({"x": pa.int64()})
    # Of this specification a process has one session.
    with anyudf.Dispatcher(specified(), max_workers=1, wait_timeout=1) as dispatcher:
        with dispatcher.session("echo_batches", input_schema=schema):
            with pytest.raises(anyudf.TimeoutError) as raised:
                dispatcher.session("echo_batches", input_schema=schema)
            assert raised.value.condition == "POOL_TIMEOUT"


def another():
    """A function that goes with the payload: a worker does not find the modules of tests."""

    def same(x: int) -> int:
        return x

    return same


def test_c11_a_call_has_its_time(python):
    def slow(x: int) -> int:
        while True:
            pass

    with pytest.raises(anyudf.UserError) as raised:
        one_row(python, slow, timeout=0.2)
    assert raised.value.condition == "CALL_TIMEOUT"
    assert one_row(python, another()).num_rows == 1, "others go on"


def test_a_worker_that_dies_takes_its_sessions_with_it(python):
    def dies(x: int) -> int:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
        return x

    with pytest.raises(anyudf.TransportError) as raised:
        one_row(python, dies)
    assert raised.value.condition == "WORKER_DIED"
    assert "signal: 9" in str(raised.value)
    assert one_row(python, another()).num_rows == 1, "another is started"


def test_a_worker_that_is_killed_between_two_batches(dispatcher):
    with dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()})) as session:
        session.send(pa.record_batch({"x": [1]}))
        assert session.next().num_rows == 1
        for worker in dispatcher.stats()["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        with pytest.raises(anyudf.TransportError):
            session.next()
    assert session.ended == "transport failed"


def test_d12_a_closed_dispatcher_gives_no_sessions():
    dispatcher = anyudf.Dispatcher()
    dispatcher.close()
    dispatcher.close()
    assert dispatcher.stats() is None
    with pytest.raises(anyudf.MisuseError, match="is closed") as raised:
        one_row(dispatcher, "echo_batches")
    assert raised.value.condition == "DISPATCHER_CLOSED"


def test_d12_closing_ends_what_runs(numbers):
    with anyudf.Dispatcher() as dispatcher:
        session = dispatcher.session("generate_series", options={"start": 1, "stop": 10**12})
        results = iter(session.process())
        next(results)
        dispatcher.close()
        with pytest.raises(anyudf.CancelledError):
            for _ in results:
                pass


def test_what_is_no_function_is_refused(dispatcher):
    with pytest.raises(anyudf.MisuseError, match="is no function"):
        dispatcher.session(3)


def test_a_program_that_is_nowhere(monkeypatch, tmp_path):
    from importlib import metadata

    from anyudf import commands

    def nothing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(commands.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(metadata, "files", nothing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(anyudf.MisuseError, match="`anyudf`.*neither.*nor on PATH") as raised:
        anyudf.Dispatcher()
    assert raised.value.condition == "PROGRAM_NOT_FOUND"


def test_d10_a_leak_ends_with_its_worker():
    def leaks(x: int) -> int:
        import time

        hoard = []
        while True:
            hoard.append(bytearray(4 << 20))
            time.sleep(0.01)

    worker = anyudf.python_worker()
    with anyudf.Dispatcher(worker, memory_limit=600 << 20, heartbeat_interval=0.1) as dispatcher:
        with pytest.raises(anyudf.WorkerError) as raised:
            one_row(dispatcher, leaks)
        assert raised.value.condition == "WORKER_MEMORY_LIMIT"
        assert "leaks" in str(raised.value)
        assert one_row(dispatcher, another()).num_rows == 1, "another is started"


def test_batches_of_other_columns_are_refused(dispatcher):
    batches = [pa.record_batch({"a": [1], "b": [20]}), pa.record_batch({"b": [40], "a": [3]})]
    with pytest.raises(anyudf.MisuseError) as raised:
        anyudf.run("echo_batches", batches, worker=dispatcher)
    assert raised.value.condition == "OTHER_COLUMNS"


@pytest.mark.parametrize("said", [{"timeout": -1}, {"timeout": float("nan")}, {"args": "x"}])
def test_what_makes_no_sense_is_refused(dispatcher, said):
    with pytest.raises(anyudf.MisuseError):
        anyudf.run("echo_batches", {"x": [1]}, worker=dispatcher, **said)


def test_a_map_tells_its_own_frames(python):
    @anyudf.udf(kind="map")
    def broken(batches):
        raise ValueError("here")
        yield

    with pytest.raises(anyudf.UserError) as raised:
        anyudf.run(broken, {"x": [1]}, worker=python)
    assert raised.value.condition == "ValueError"
    assert 'raise ValueError("here")' in raised.value.remote_traceback or "in broken" in raised.value.remote_traceback


@pytest.mark.parametrize(
    "data, word",
    [
        ([{"x": 1}], "from_pylist"),
        ({"x": 1}, "from_pylist"),
        (pa.array([1]), "a column alone"),
        (pa.chunked_array([[1]]), "a column alone"),
        (1, "int is no table"),
    ],
)
def test_what_is_no_table_is_told(dispatcher, data, word):
    with pytest.raises(anyudf.MisuseError, match=word) as raised:
        anyudf.run("echo_batches", data, worker=dispatcher)
    assert raised.value.condition == "NO_TABLE"
