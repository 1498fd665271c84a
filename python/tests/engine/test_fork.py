"""A dispatcher belongs to the process that made it."""

import fcntl
import os
import signal
import tempfile
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from .conftest import Script, gone

HEAD = """
dispatcher = anyudf.Dispatcher()
one = lambda dispatcher: anyudf.run("echo_batches", {"x": [1]}, worker=dispatcher).num_rows
one(dispatcher)
parents = pids(dispatcher)

def fork(child):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            child()
            code = 0
        finally:
            sys.stdout.flush()
            if code:
                os._exit(code)
            leave()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

leave = lambda: os._exit(0)
"""


def test_a_childs_use_of_its_parents_is_refused():
    text = """
        session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))
        results = iter(dispatcher.session("generate_series", options={"start": 1, "stop": 10**9}).process())
        next(results)
        def child():
            for use in (
                lambda: one(dispatcher), dispatcher.stats, session.next, session.progress, session.cancel,
                lambda: session.send(pa.record_batch({"x": [1]})), lambda: next(results), session.finish,
                lambda: dispatcher.session("echo_batches", input_schema=pa.schema({})),
            ):
                try:
                    use()
                    print("it was not refused")
                except anyudf.MisuseError as error:
                    assert error.condition == "FORKED" and "make a Dispatcher of its own" in str(error), error
            dispatcher.close()
        print(fork(child))
        session.send(pa.record_batch({"x": [1]}))
        print(session.next().num_rows, next(results).num_rows > 0, pids(dispatcher) == parents)
        """
    with Script(HEAD + dedent(text)) as script:
        assert script.end() == ["0", "1 True True"]


def test_dropping_it_in_the_child_does_nothing():
    text = """
        session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))
        def child():
            global dispatcher, session
            del dispatcher, session
            import gc
            gc.collect()
        print(fork(child))
        session.send(pa.record_batch({"x": [1]}))
        print(session.next().num_rows, pids(dispatcher) == parents)
        """
    with Script(HEAD + dedent(text)) as script:
        assert script.end() == ["0", "1 True"]


def test_a_child_makes_its_own_and_ends_as_processes_do():
    text = """
        leave = sys.exit
        def child():
            own = anyudf.Dispatcher()
            print(one(own), pids(own)[0])
            # The parent's runs go on as they did, and those of the child have workers of their own.
            print(anyudf.run("echo_batches", {"x": [1]}).num_rows)
        anyudf.run("echo_batches", {"x": [1]})
        pid = os.fork()
        if not pid:
            child()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print(one(dispatcher), pids(dispatcher) == parents, anyudf.run("echo_batches", {"x": [1]}).num_rows)
        """
    with Script(HEAD + dedent(text)) as script:
        rows, childs = script.line().split()
        assert rows == "1"
        assert script.line() == "1"
        assert script.end() == ["1 True 1"]
        assert gone(int(childs))


def test_multiprocessing_forks_too():
    text = """
        import multiprocessing
        def work(x):
            own = anyudf.Dispatcher()
            return one(own) + x, pids(own)[0], anyudf.run("echo_batches", {"x": [1]}).num_rows
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for rows, worker, again in pool.map(work, range(4)):
                print(rows, worker, again)
            pool.close()
            pool.join()
        print(one(dispatcher), pids(dispatcher) == parents)
        """
    with Script(HEAD + dedent(text)) as script:
        *works, last = script.end()
        assert last == "1 True"
        assert [work.split()[0] for work in works] == ["1", "2", "3", "4"]
        assert all(gone(int(work.split()[1])) for work in works)


def test_a_fork_in_the_middle_of_everything():
    text = """
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                one(dispatcher)
        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads:
            thread.start()
        def child():
            own = anyudf.Dispatcher()
            assert one(own) == 1
            own.close()
        codes = [fork(child) for _ in range(10)]
        stop.set()
        for thread in threads:
            thread.join()
        print(codes == [0] * 10, one(dispatcher))
        """
    with Script(HEAD + dedent(text)) as script:
        assert script.end(60) == ["True 1"]


# As Python forks, and as a library does that knows nothing of Python.
@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"])
def test_d3_nothing_is_left_of_a_parent_that_is_killed_while_a_child_lives(fork, monkeypatch):
    text = f"""
        import ctypes
        pid = {fork}()
        if not pid:
            os.read(os.pipe()[0], 1)  # for ever
        print(parents[0], pid)
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    with tempfile.TemporaryDirectory() as base:
        monkeypatch.setenv("TMPDIR", base)
        with Script(HEAD + dedent(text)) as script:
            worker, child = map(int, script.line().split())
            try:
                (sockets,) = Path(base).glob("anyudf-*")
                lock = os.open(sockets, os.O_RDONLY)
                script.say("")
                script.process.wait()
                assert gone(worker)
                # Who clears up after the parent has the lock of its directory until that is done.
                cleared = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX), daemon=True)
                cleared.start()
                cleared.join(10)
                assert not cleared.is_alive()
                assert not sockets.exists()
            finally:
                os.kill(child, signal.SIGKILL)
