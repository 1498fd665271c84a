"""Ctrl-C ends what waits, and leaves nothing (E13)."""

import textwrap

import pytest

from .conftest import Script, gone

# Each is interrupted as soon as it has said that it is about to wait.
WAITS = {
    "process": """
        session = dispatcher.session("echo/hang")
        wait(lambda: list(session.process({"x": [1]})))
        """,
    "process, input without end": """
        session = dispatcher.session("echo_batches")
        wait(lambda: [None for _ in session.process(endless())])
        """,
    "process, in the input": """
        session = dispatcher.session("echo_batches")
        def slow():
            yield {"x": [1]}
            time.sleep(1000)
        wait(lambda: list(session.process(slow())))
        """,
    "next": """
        session = dispatcher.session("echo_batches", input_schema=schema)
        wait(session.next)
        """,
    "send": """
        session = dispatcher.session("echo/hang", input_schema=schema)
        batch = pa.record_batch({"x": range(1_000_000)})
        def fill():
            while True:
                session.send(batch)
        wait(fill)
        """,
    "run": """
        wait(lambda: anyudf.run(deaf, {"x": [1]}, worker=dispatcher))
        """,
}

SCRIPT = """
schema = pa.schema({{"x": pa.int64()}})
dispatcher = anyudf.Dispatcher({worker})

made = []

def named(session=dispatcher.session):
    def of(function, **said):
        if function == "echo/hang":
            function, said["output_schema"] = anyudf.Payload("echo/hang", b""), schema
        made.append(session(function, **said))
        return made[-1]
    return of

dispatcher.session = named()

def wait(call):
    def tell():
        while not made or not made[-1].progress():
            time.sleep(0.01)
        time.sleep({settle})
        print(pids(dispatcher)[0])
    threading.Thread(target=tell, daemon=True).start()
    try:
        call()
        print("nothing was raised")
    except KeyboardInterrupt:
        made[-1].close()
        print(made[-1].ended)
        while made[-1].ended == "interrupted" and pids(dispatcher):
            time.sleep(0.01)
        print(len(pids(dispatcher)), "left")

{waits}
dispatcher.close()
print("closed")
"""


# How it may end, and how many workers are left: who acknowledges it serves others, who does not is ended.
ENDS = {("cancelled", "1 left"), ("interrupted", "0 left")}


@pytest.mark.parametrize("waits", WAITS)
def test_e13_ctrl_c_ends_who_waits(waits):
    worker = "anyudf.python_worker()" if waits == "run" else ""
    text = SCRIPT.format(worker=worker, settle=0.3, waits=textwrap.dedent(WAITS[waits]))
    with Script(text) as script:
        worker = int(script.line())
        script.process.send_signal(2)
        ended = (script.line(), script.line())
        # These functions never look up, and hear nothing for longer than an interrupt waits.
        assert ended in ({("interrupted", "0 left")} if waits in ("process", "send", "run") else ENDS)
        assert script.end(20) == ["closed"]
        assert gone(worker)


def test_e13_who_waits_for_a_worker_is_interrupted_too():
    text = """
        dispatcher = anyudf.Dispatcher(anyudf.python_worker(), max_workers=1)
        schema = pa.schema({"x": pa.int64()})
        def f(x: int) -> int:
            return x
        first = dispatcher.session(f, input_schema=schema)
        def tell():
            while not dispatcher.stats()["waiting"]:
                time.sleep(0.01)
            print("waiting")
        threading.Thread(target=tell).start()
        try:
            dispatcher.session(f, input_schema=schema)
        except KeyboardInterrupt:
            print(dispatcher.stats()["waiting"], "wait")
        first.close()
        print(anyudf.run(f, {"x": [1]}, worker=dispatcher).num_rows)
        """
    with Script(text) as script:
        assert script.line() == "waiting"
        script.process.send_signal(2)
        assert script.end() == ["0 wait", "1"]


def test_a_handler_that_raises_nothing_changes_nothing():
    text = """
        heard = []
        signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
        dispatcher = anyudf.Dispatcher()
        def slow():
            for row in range(3):
                yield {"x": [row]}
                os.kill(os.getpid(), signal.SIGUSR1)
        with dispatcher.session("echo_batches") as session:
            print(session.process(slow()).read_all().num_rows, len(heard))
        """
    with Script(text) as script:
        assert script.end() == ["3 3"]
