"""However it ends, no worker is left, and nothing hangs."""

import textwrap
import weakref

import pytest

import anyudf

from .conftest import Script, gone

ENDS = {
    "nobody has it any more": "del dispatcher",
    "closed": "dispatcher.close()",
    "the interpreter ends": "",
    "sys.exit": "sys.exit(0)",
    "while a session is open": 'session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))',
    "while one is in the middle": """
results = iter(dispatcher.session("generate_series", options={"start": 1, "stop": 10**12}).process())
next(results)
""",
    "while a thread waits": """
session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))
def waits():
    try:
        session.next()
    except anyudf.Error:
        pass
threading.Thread(target=waits, daemon=True).start()
""",
    "dropped while a session lives": """
session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))
del dispatcher
session.send(pa.record_batch({"x": [1]}))
session.next()
del session
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_d12_no_worker_is_left(end):
    text = f"""
dispatcher = anyudf.Dispatcher()
anyudf.run("echo_batches", {{"x": [1]}}, worker=dispatcher)
print(*pids(dispatcher))
{ENDS[end]}
print("end")
"""
    with Script(text) as script:
        workers = [int(pid) for pid in script.line().split()]
        assert script.end() == ([] if end == "sys.exit" else ["end"])
        assert all(gone(worker) for worker in workers)


@pytest.mark.parametrize("function", ["sleepy", "deaf"])
@pytest.mark.parametrize("end", ["", "del dispatcher, session, results, thread", "dispatcher.close()"])
def test_d12_a_function_that_hangs_keeps_nobody(tmp_path, function, end):
    text = f"""
begun = sys.argv[1]
os.mkfifo(begun)
def hangs(x: int) -> int:
    open(begun, "w").close()
    return {function}(x)
dispatcher = anyudf.Dispatcher(anyudf.python_worker())
session = dispatcher.session(hangs)
results = iter(session.process({{"x": [1]}}))
def waits(results=results):
    try:
        next(results)
    except anyudf.Error:
        pass
thread = threading.Thread(target=waits, daemon=True)
thread.start()
open(begun).read()
print(*pids(dispatcher))
{end}
"""
    with Script(text, str(tmp_path / "begun")) as script:
        workers = [int(pid) for pid in script.line().split()]
        script.end(15)
        assert all(gone(worker) for worker in workers)


WAITS = {
    "an iterable": "list(session.process(source()))",
    "a stream that is opened": "list(session.process(Waits()))",
    "a batch": "session.send(Waits())",
    "a schema": "session.open(Waits())",
}


@pytest.mark.parametrize("what", WAITS)
def test_a_daemon_may_wait_for_what_it_gave_when_the_interpreter_is_finalized(what):
    text = f"""
        dispatcher = anyudf.Dispatcher()
        session = dispatcher.session("echo_batches")
        waits, (woken, wake) = threading.Event(), os.pipe()
        def wait(*_):
            waits.set()
            os.read(woken, 1)
        def source():
            yield pa.record_batch({{"x": [1]}})
            wait()
        class Waits:
            __arrow_c_stream__ = __arrow_c_array__ = __arrow_c_schema__ = wait
        def work():
            {WAITS[what]}
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        waits.wait()

        class Last:
            # Is called while the interpreter takes its modules apart: whoever wants the GIL now is ended, or kept for ever.
            def __del__(self, ended=sys.version_info < (3, 14), me=thread.native_id, wake=wake, os=os, time=time):
                os.write(wake, b"x")
                while ended and str(me) in os.listdir("/proc/self/task"):
                    time.sleep(0.001)
                os.write(1, b"last\\n")
        sys.modules["last"] = Last()
        """
    with Script(text) as script:
        assert script.end() == ["last"]


# The batch is there before: a daemon that makes one just then is in pyarrow's own code, which does not survive that.
@pytest.mark.parametrize("call", ["parts()", "results()"])
def test_daemons_may_be_in_calls_when_the_interpreter_ends(call):
    text = f"""
        dispatcher = anyudf.Dispatcher(max_workers=2)
        sent = pa.record_batch({{"x": [1]}})
        def parts():
            with dispatcher.session("echo_batches") as session:
                session.open(sent.schema)
                session.send(sent)
                session.finish()
                while session.next() is not None:
                    begun.release()
        def results():
            for batch in dispatcher.session("echo_batches").process(iter(lambda: sent, None)):
                begun.release()
        begun = threading.Semaphore(0)
        def work():
            while True:
                try:
                    {call}
                except anyudf.Error:
                    pass
                begun.release()
        for _ in range(8):
            threading.Thread(target=work, daemon=True).start()
        for _ in range(8):
            begun.acquire()
        """
    for _ in range(5):
        with Script(text) as script:
            assert script.end() == []


# What is registered later is called before. So this is asked behind our own end.
BEHIND = """
import atexit
from anyudf import engine
atexit.unregister(engine._end_all)
atexit.register(lambda: behind())
atexit.register(engine._end_all)
"""


@pytest.mark.parametrize("call", ["next(results)", "session.next()"])
def test_a_call_comes_back_when_nobody_has_its_dispatcher(call):
    text = f"""
        ended = threading.Event()
        def behind():
            print(ended.wait(10))
        session = anyudf.Dispatcher(anyudf.python_worker()).session(sleepy, input_schema=pa.schema({{"x": pa.int64()}}))
        # Nobody finds it.
        engine._all.clear()
        if {"results" in call}:
            results = iter(session.process({{"x": [1]}}))
        else:
            session.send(pa.record_batch({{"x": [1]}}))
        begun = threading.Event()
        def work():
            try:
                begun.set()
                {call}
            except anyudf.MisuseError as error:
                assert error.condition == "DISPATCHER_CLOSED"
                ended.set()
        threading.Thread(target=work, daemon=True).start()
        begun.wait()
        """
    with Script(BEHIND + textwrap.dedent(text)) as script:
        assert script.end() == ["True"]


def test_who_iterates_has_the_dispatcher():
    own = anyudf.Dispatcher()
    seen = weakref.ref(own)
    results = iter(own.session("echo_batches").process({"x": [1]}))
    del own
    assert seen() is not None
    assert next(results).num_rows == 1
    del results
    assert seen() is None


def test_calls_after_the_end_are_refused():
    text = """
        def behind():
            session.cancel()
            for call in (session.next, dispatcher.stats, anyudf.Dispatcher, lambda: anyudf.run("count_rows", {"x": [1]})):
                try:
                    call()
                except anyudf.MisuseError as error:
                    print(error.condition)
            dispatcher.close()
        dispatcher = anyudf.Dispatcher()
        session = dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()}))
        """
    with Script(BEHIND + textwrap.dedent(text)) as script:
        assert script.end() == ["DISPATCHER_CLOSED"] * 4


def test_what_is_registered_later_may_call():
    text = """
        import atexit
        def last():
            print(anyudf.run("echo_batches", {"x": [1]}).num_rows, anyudf.Dispatcher().stats()["starts"])
        atexit.register(last)
        import multiprocessing.util  # has its own registered, which is called before
        print(anyudf.run("echo_batches", {"x": [1]}).num_rows)
        """
    with Script(text) as script:
        assert script.end() == ["1", "1 0"]


def test_a_refusal_runs_nothing_of_the_users():
    text = """
        dropped = []
        class Held:
            def __del__(self):
                dropped.append(self)
        def refused():
            held = Held()
            try:
                session.next()
            except anyudf.MisuseError:
                pass
        def behind():
            refused()
            refused()
            print(len(dropped))
        session = anyudf.Dispatcher().session("echo_batches")
        """
    with Script(BEHIND + textwrap.dedent(text)) as script:
        assert script.end() == ["0"]


def test_the_end_waits_for_who_ends_in_the_background():
    text = """
        dispatcher = anyudf.Dispatcher()
        anyudf.run("echo_batches", {"x": [1]}, worker=dispatcher)
        (worker,) = pids(dispatcher)
        def behind():
            try:
                os.kill(worker, 0)
                print("it lives")
            except ProcessLookupError:
                print("it is gone")
        del dispatcher
        """
    with Script(BEHIND + textwrap.dedent(text)) as script:
        assert script.end() == ["it is gone"]


def test_d3_a_host_that_is_killed_leaves_no_worker():
    text = """
        dispatcher = anyudf.Dispatcher()
        anyudf.run("echo_batches", {"x": [1]}, worker=dispatcher)
        print(*pids(dispatcher))
        os.kill(os.getpid(), signal.SIGKILL)
        """
    with Script(text) as script:
        workers = [int(pid) for pid in script.line().split()]
        script.process.wait()
        assert all(gone(worker) for worker in workers)


def test_d12_a_hundred_come_and_go():
    text = """
        before = threading.active_count()
        for _ in range(50):
            with anyudf.Dispatcher() as dispatcher:
                anyudf.run("count_rows", {"x": [1]}, worker=dispatcher)
        for _ in range(50):
            dispatcher = anyudf.Dispatcher()
            del dispatcher
        for _ in range(1000):
            if len(os.listdir("/proc/self/task")) < 8:
                break
            time.sleep(0.01)
        print(len(os.listdir("/proc/self/task")) < 8, len(os.listdir("/proc/self/fd")) < 40)
        """
    with Script(text) as script:
        assert script.end(60) == ["True True"]
