"""However it ends, no worker is left, and nothing hangs."""

import pytest

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
def test_d12_a_function_that_hangs_keeps_nobody(function, end):
    text = f"""
dispatcher = anyudf.Dispatcher(anyudf.python_worker())
session = dispatcher.session({function})
results = iter(session.process({{"x": [1]}}))
def waits(results=results):
    try:
        next(results)
    except anyudf.Error:
        pass
thread = threading.Thread(target=waits, daemon=True)
thread.start()
while not dispatcher.stats()["sessions"]:
    time.sleep(0.01)
time.sleep(0.3)
print(*pids(dispatcher))
{end}
"""
    with Script(text) as script:
        workers = [int(pid) for pid in script.line().split()]
        script.end(15)
        assert all(gone(worker) for worker in workers)


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
