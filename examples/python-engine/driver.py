"""The driver of the engine in engine.py, as docs/conformance-engine.md describes it: `anyudf conformance --engine` says
by the name of a scenario what is to be done, and each line of standard output says what came of it.

It uses the engine as any program would, so it is also an example of that.
"""

import argparse
import json
import os
import sys
import threading
import zlib
from contextlib import contextmanager

from engine import Error, Function, Session, Times, Worker

TIMES = {"init": 3.0, "cancel": 2.0, "interrupt": 2.0, "heartbeat": 0.2}
FLOOD = [bytes(16 << 10)] * 4096
EVERYTHING = Function(
    format="echo",
    payload=b"payload",
    name="f",
    eval_type="scalar",
    timezone="Europe/Berlin",
    parameters=b"p",
    input_schema=b"in",
    output_schema=b"out",
    session_conf={"a": "b"},
    task_context={"c": "d"},
)


class SourceFailed(Exception):
    """The caller's own error (E8)."""


# What comes in.

told = threading.Event()


def listen():
    """Told by a line, or by the end of whoever could have told. Not by way of sys.stdin, whose lock a thread that waits
    would hold when the program ends."""
    os.read(0, 4096)
    told.set()


# What goes out.

one_line = threading.Lock()


def checked(data):
    """The fields that tell data from other data."""
    return {} if data is None else {"bytes": len(data), "crc32": zlib.crc32(data)}


class Run:
    """One session, and what it reports."""

    def __init__(self, worker, name=None):
        self.session = Session(worker)
        self.name = {"session": name} if name else {}

    def report(self, event, **fields):
        with one_line:
            print(json.dumps({"event": event, **self.name, **fields}), flush=True)

    @contextmanager
    def reporting(self, call):
        """Errors are part of what is reported."""
        try:
            yield
        except SourceFailed as error:
            self.report("error", call="source", kind="source", message=str(error))
        except Error as error:
            about = {"error_class": error.error_class} if error.error_class else {}
            self.report("error", call=call, kind=error.kind, message=error.message, **about)

    def init(self, function):
        """Whether it succeeded."""
        with self.reporting("init"):
            data = self.session.init(function)
            self.report("init", **checked(data))
            return True
        return False

    def process(self, source):
        with self.reporting("process"):
            return self.session.process(source)

    def read(self, output, decode=None):
        with self.reporting("read"):
            for data in output:
                if decode is None:
                    self.report("data", **checked(data))
                else:
                    for batch in decode(data):
                        self.report("rows", rows=batch.num_rows)
            end = self.session.termination
            self.report("done", metrics=end.metrics, **checked(end.data))

    def close(self):
        end = self.session.close()
        self.report("closed", termination=end.name, reusable=end.reusable)

    def act(self, action):
        """What another thread does when it is told."""
        if action == "cancel":
            self.session.cancel("told")
        elif action == "cancel-twice":
            threads = [threading.Thread(target=self.session.cancel, args=("told",)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        elif action == "cancel-long":
            self.session.cancel("x" * 65536)
        elif action == "close":
            self.session.close()
        elif action == "interrupt":
            self.session.interrupt()

    def echo(self, function, source, decode=None):
        """The usual flow."""
        if self.init(function):
            self.read(self.process(source), decode)
        self.close()


# The functions and their input.


def payload(size):
    """Byte i is i ^ (i >> 8) ^ (i >> 16). Of 256 of them in a row only the first term differs."""
    rows = [bytes(low ^ high for low in range(256)) for high in range(256)]
    return b"".join(rows[(at ^ at >> 8) & 255] for at in range(size // 256 + 1))[:size]


def held(action):
    yield b"one"
    told.wait()
    if action == "fail":
        raise SourceFailed("the source failed")
    if action not in (None, "finish"):
        threading.Event().wait()  # It is not the input that was told.


def failing(*before):
    yield from before
    raise SourceFailed("the source failed")


def rows(run, count):
    """C9: the schema goes ahead in Init, and each message is one RecordBatch. Large ones are split by rows (E4)."""
    import pyarrow as pa

    most = 256 << 10  # Rows of eight bytes: 2 MiB.
    batch = pa.record_batch([pa.array(range(count), pa.int64())], names=["n"])
    slices = (batch.slice(at, most) for at in range(0, max(count, 1), most))

    def decode(data):
        """A message is a run of a Schema, which may be missing, dictionaries and batches (C9)."""
        try:
            parts = [part for part in pa.ipc.MessageReader.open_stream(data) if part.type != "schema"]
            stream = schema + b"".join(part.serialize().to_pybytes() for part in parts)
            batches = list(pa.ipc.open_stream(stream))
            for each in batches:
                each.validate(full=True)  # C10: before anybody uses it.
            return batches
        except (pa.ArrowException, EOFError, OSError) as error:
            run.session.cancel("the output is no record batch")
            raise Error("protocol", f"the output is no record batch: {error}") from error

    with run.reporting("init"):
        schema = run.session.init(Function("echo", b"payload", input_schema=batch.schema.serialize().to_pybytes()))
        run.report("init", **checked(schema))
        schema = schema or batch.schema.serialize().to_pybytes()
        run.read(run.process(each.serialize().to_pybytes() for each in slices), decode)
    run.close()


# The scenarios.


def play(worker, scenario):
    flow, _, action = scenario.partition("/")
    flow = {"idle": "echo"}.get(flow, flow.removeprefix("idle-"))  # Its limit is the worker's.
    function = Function("echo", b"payload")
    source = [b"one", b"two", b"three"]
    run = Run(worker, "a" if flow == "two" else None)

    acted = threading.Event()

    def wait_and_act():
        told.wait()
        run.act(action)
        acted.set()

    if flow not in ("payload", "rows"):
        threading.Thread(target=wait_and_act, daemon=True).start()

    if flow in ("echo", "pipelined"):
        run.echo(function, source)
    elif flow == "nothing":
        run.echo(function, [])
    elif flow == "held":
        run.echo(function, held(action or None))
    elif flow == "flood":
        run.echo(function, FLOOD)
    elif flow == "source-fails":
        run.echo(function, failing(b"one"))
    elif flow == "source-fails-at-once":
        run.echo(function, failing())
    elif flow == "payload":
        run.echo(Function("echo", payload(int(action))), source)
    elif flow == "everything":
        run.echo(EVERYTHING, source)
    elif flow == "rows":
        rows(run, int(action))
    elif flow == "open":
        if run.init(function):
            acted.wait()
        run.close()
    elif flow == "unopened":
        acted.wait()
        run.init(function)
        run.close()
    elif flow == "unread":
        if run.init(function):
            output = run.process([b"one"])
            acted.wait()
            run.read(output)
        run.close()
    elif flow == "init-twice":
        if run.init(function):
            run.init(function)
            run.read(run.process(source))
        run.close()
    elif flow == "process-first":
        run.process(source)
        run.echo(function, source)
    elif flow == "process-twice":
        if run.init(function):
            run.read(run.process(source))
            run.process(source)
        run.close()
    elif flow == "afterwards":
        if run.init(function):
            output = run.process(source)
            run.read(output)
            run.close()
            with run.reporting("read"):
                for data in output:
                    run.report("data", **checked(data))
            run.session.cancel("too late")
        run.close()
    elif flow == "two":
        if run.init(function):
            output = run.process([b"one"])
            other = threading.Thread(target=Run(worker, "b").echo, args=(function, source))
            other.start()
            told.wait()
            run.read(output)
            run.close()
            other.join()
    else:
        sys.exit(f"no scenario `{scenario}`")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--connection", required=True)
    parser.add_argument("--scenario", required=True)
    flags = parser.parse_args()

    threading.Thread(target=listen, daemon=True).start()
    times = Times(**TIMES, idle=0.5) if flags.scenario.startswith("idle") else Times(**TIMES)
    with Worker(flags.connection, times) as worker:
        play(worker, flags.scenario)


if __name__ == "__main__":
    main()
