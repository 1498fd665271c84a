"""Functions in processes of their own, called by the program `anyudf`: what they give, and everything that goes wrong."""

import os
import re
import signal
import subprocess
import sys

import pyarrow as pa
import pytest

from .conftest import PATIENCE, eventually, interrupted, program

NUMBERS = {"x": [1, 2, None, 4]}


def test_every_kind(module):
    made = module(
        """
        @anyudf.udf(volatility="immutable", examples=[((2,), 4)])
        def double(x: int) -> int:
            "Twice a number."
            return 2 * x

        @anyudf.udf(kind="batch", returns="int64", aliases=["plus"])
        def add(a: pa.Int64Array, b: pa.Int64Array):
            return pc.add(a, b)

        @anyudf.udf(kind="table", returns={"n": "int64"})
        def series(stop: int):
            yield from range(stop)

        @anyudf.udf(kind="map", returns={"x": "int64"})
        def whole(batches):
            for batch in batches:
                yield batch.select(["x"]).filter(pc.is_valid(batch["x"]))

        @anyudf.udf(kind="aggregate")
        class total:
            def __init__(self): self.sum = 0
            def update(self, x: int): self.sum += x
            def merge(self, other): self.sum += other.sum
            def finish(self) -> int: return self.sum
        """
    )
    listed = made.call("functions")
    assert listed.code == 0 and "Twice a number." in listed.output and "series" in listed.output, listed
    assert made.column("double", NUMBERS) == [2, 4, None, 8]
    assert made.column("add", {"a": [1, None], "b": [2, 2]}) == [3, None]
    assert made.table("series", None, "--options", '{"stop": 3}')["n"].to_pylist() == [0, 1, 2]
    assert made.table("whole", NUMBERS)["x"].to_pylist() == [1, 2, 4]
    assert made.table("total", NUMBERS, "--args", "x")["total"].to_pylist() == [7]
    path = made.input(NUMBERS)[1]
    answer = made.call("sql", f"SELECT double(plus(x, x)) AS y FROM '{path}'", "--output-format", "csv")
    assert answer.output.split() == ["y", "4", "8", '""', "16"], answer


def test_an_error_has_class_text_row_and_the_users_frames_first(module):
    made = module(
        """
        class Refused(Exception): ...

        def check(x):
            if x == 4:
                raise Refused(f"{x} is refused")

        @anyudf.udf
        def picky(x: int) -> int:
            check(x)
            return x
        """
    )
    failed = made.fails("picky", NUMBERS)
    assert "[Refused] `picky`, batch 1: row 3: 4 is refused" in failed.errors
    frames = [line.strip() for line in failed.errors.splitlines() if line.strip().startswith('File "')]
    assert [frame.rpartition(" in ")[2] for frame in frames[:2]] == ["picky", "check"], failed.errors
    assert "_calls.py" not in failed.errors


def test_exit_in_a_function_is_its_error_and_nothing_more(module):
    made = module("@anyudf.udf\ndef leaves(x: int) -> int:\n    sys.exit(3)\n")
    assert "[SystemExit] `leaves`, batch 1: row 0: called sys.exit(3)" in made.fails("leaves", NUMBERS).errors


def test_the_child_of_a_fork_is_no_worker(module):
    made = module(
        """
        @anyudf.udf
        def forks(x: int) -> int:
            os.fork()
            return x
        """
    )
    outcome = made.run("forks", {"x": [1, 2]}, "--args", "x", verbose=True)
    assert outcome.code == 0, outcome
    assert outcome.errors.count("a function has forked, and its child has returned from it") >= 1, outcome


def test_a_child_that_lives_on_keeps_nothing_of_the_worker(module, tmp_path):
    made = module(
        """
        @anyudf.udf
        def dies(x: int) -> int:
            if os.fork() == 0:
                time.sleep(600)
            os._exit(9)
        """
    )
    # Were the sockets still open in the child, the engine would wait for the worker's next word.
    failed = made.fails("dies", {"x": [1]})
    assert "ended (exit status: 9)" in failed.errors


def test_children_that_a_function_starts_properly_work(module):
    made = module(
        """
        import multiprocessing, subprocess

        @anyudf.udf
        def children(x: int) -> str:
            with multiprocessing.get_context("fork").Pool(1) as pool:
                doubled = pool.apply(abs, (-x,))
            echoed = subprocess.run(["echo", str(x)], capture_output=True, text=True).stdout.strip()
            return f"{doubled} {echoed} {'ANYUDF_TOKEN' in os.environ}"
        """
    )
    assert made.column("children", {"x": [5]}) == ["5 5 False"]


def test_prints_of_megabytes_and_logs_go_to_standard_error_with_who_says_it(module):
    made = module(
        """
        import logging
        logging.getLogger("known").addHandler(logging.StreamHandler())

        @anyudf.udf
        def prints(x: int) -> int:
            print("x" * 100 + "\\n", end="")
            for _ in range(50_000):
                print("megabytes of words and words and words and words and words")
            sys.stdout.write("an unfinished")
            sys.stdout.write(" line\\n")
            logging.getLogger("mine").warning("a warning")
            logging.getLogger("known").warning("an earlier logger")
            sys.stdout.buffer.write(b"bytes\\n")
            os.write(1, b"from the depths\\n")
            print("no end", end="")
            return x
        """
    )
    outcome = made.run("prints", {"x": [1]}, "--args", "x", verbose=True)
    assert outcome.code == 0 and "megabytes" not in outcome.output, outcome.output
    for words in ("an unfinished line", "WARNING mine: a warning", "an earlier logger", "no end"):
        line = next(line for line in outcome.errors.splitlines() if words in line)
        # Whichever of its sessions has the row.
        assert re.search(rf"\[\w+/\d+ prints\] {words}", line), line
    assert "from the depths" in outcome.errors and "bytes" in outcome.errors
    assert outcome.errors.count("megabytes of words") == 50_000


def test_a_segfault_is_told_with_the_lines_of_python(module):
    made = module(
        """
        import ctypes

        @anyudf.udf
        def crashes(x: int) -> int:
            return ctypes.string_at(0)
        """
    )
    failed = made.fails("crashes", {"x": [1]})
    assert "SIGSEGV" in failed.errors and "Fatal Python error: Segmentation fault" in failed.errors
    assert "in crashes" in failed.errors


def test_a_worker_that_leaves_is_told(module):
    made = module("@anyudf.udf\ndef leaves(x: int) -> int:\n    os._exit(7)\n")
    assert "ended (exit status: 7)" in made.fails("leaves", {"x": [1]}).errors


def test_recursion_without_an_end_is_an_error(module):
    made = module(
        """
        @anyudf.udf
        def deep(x: int) -> int:
            return deep(x + 1)

        @anyudf.udf
        def nested(x: int) -> int:
            value = []
            for _ in range(x):
                value = [value]
            return len(repr(value))
        """
    )
    assert "[RecursionError] `deep`, batch 1: row 0: maximum recursion depth" in made.fails("deep", {"x": [1]}).errors
    assert "[RecursionError] `nested`" in made.fails("nested", {"x": [1_000_000]}).errors


def test_a_leak_is_the_workers_own(module):
    made = module(
        """
        kept = []

        @anyudf.udf
        def leaks(x: int) -> int:
            kept.append(bytearray(1 << 20))
            return len(kept)
        """
    )
    assert made.column("leaks", {"x": list(range(100))})[-1] == 100


LOOP = """
from pathlib import Path

def note(what):
    with open("notes", "a") as notes:
        notes.write(what + "\\n")

def for_ever():
    note("begun")
    n = 0
    try:
        while True:
            n += 1
    except BaseException as error:
        note(type(error).__name__)
        raise
    finally:
        note("cleaned up")

@anyudf.udf
def rows(x: int) -> int:
    for_ever()

@anyudf.udf(on_error="null")
def caught(x: int) -> int:
    for_ever()

@anyudf.udf(kind="batch", returns=int)
def batch(x: pa.Int64Array):
    for_ever()

@anyudf.udf(kind="map")
def maps(batches):
    for batch in batches:
        for_ever()
        yield batch

@anyudf.udf(kind="table", returns={"n": "int64"})
def table():
    for_ever()
    yield 1

@anyudf.udf(kind="table", returns={"n": "int64"})
def endless():
    note("begun")
    try:
        while True:
            yield 1
    finally:
        note("cleaned up")

@anyudf.udf(kind="aggregate")
class aggregate:
    def update(self, x: int): for_ever()
    def merge(self, other): ...
    def finish(self) -> int: return 0
"""


@pytest.mark.parametrize("function", ["rows", "caught", "batch", "maps", "table", "aggregate", "endless"])
def test_r12_cancel_interrupts_a_loop(module, function):
    made = module(LOOP)
    notes = made.directory / "notes"
    given = [] if function in ("table", "endless") else made.input(NUMBERS)
    given += ["--args", "x"] if function in ("rows", "caught", "batch", "aggregate") else []
    given += ["--output", os.devnull, "--output-format", "csv"] if function == "endless" else []
    process = subprocess.Popen(
        made.command("run", "--function", function, *given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=made.env,
        cwd=made.directory,
    )
    assert eventually(notes.exists), process.communicate(timeout=1)
    outcome = interrupted(process)
    assert outcome.code == 130, outcome
    last = "cleaned up"
    assert eventually(lambda: notes.read_text().split("\n")[-2] == last), notes.read_text()
    if function != "endless":
        assert notes.read_text().split("\n")[:-1] == ["begun", "Cancelled", last]


def test_c11_a_loop_over_its_time_is_interrupted(module):
    made = module(LOOP)
    failed = made.fails("rows", NUMBERS, "--call-timeout", "300ms")
    assert "[CALL_TIMEOUT]" in failed.errors and "Cancelled" not in failed.errors
    assert (made.directory / "notes").read_text().split() == ["begun", "Cancelled", "cleaned", "up"]


@pytest.mark.parametrize("how", ["time.sleep(1000)", "ctypes.PyDLL(None).sleep(1000)"])
def test_d11_what_can_not_be_interrupted_is_ended(module, how):
    """The second one keeps the GIL, too."""
    made = module(f"import ctypes\n@anyudf.udf\ndef sleeps(x: int) -> int:\n    {how}\n")
    failed = made.fails("sleeps", NUMBERS, "--call-timeout", "300ms")
    assert "[CALL_TIMEOUT]" in failed.errors
    assert eventually(lambda: not made.processes())


def test_a_module_that_is_missing(module):
    made = module("import no_such_module\n")
    outcome = made.run("f", NUMBERS)
    assert outcome.code == 1 and "No module named 'no_such_module'" in outcome.errors


def test_a_module_without_functions(module):
    outcome = module("").run("f", NUMBERS)
    assert outcome.code == 1 and "there is no function to serve in __main__" in outcome.errors


def test_a_pyarrow_that_is_too_old(module, tmp_path):
    made = module("@anyudf.udf\ndef f(x: int) -> int:\n    return x\n")
    old = tmp_path / "old" / "pyarrow"
    old.mkdir(parents=True)
    (old / "__init__.py").write_text("__version__ = '9.0.0'\n")
    made.path.write_text(made.path.read_text().replace("import pyarrow as pa\nimport pyarrow.compute as pc\n", ""))
    made.env["PYTHONPATH"] = f"{old.parent}:{made.env.get('PYTHONPATH', '')}"
    outcome = made.run("f", NUMBERS)
    assert outcome.code == 1 and "pyarrow 9.0.0 is too old" in outcome.errors, outcome


def test_a_worker_by_hand(module, tmp_path):
    made = module("@anyudf.udf\ndef f(x: int) -> int:\n    return x\n")

    def ends(*arguments):
        done = subprocess.run([sys.executable, made.path, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr

    code, output, _ = ends("--help")
    assert code == 0 and "--connection WHERE" in output
    code, _, errors = ends()
    assert code == 2 and "--connection is missing" in errors
    code, _, errors = ends("--connection", "/no/such/directory/w.sock")
    assert code == 1 and "/no/such/directory" in errors


def test_the_end_of_a_worker_runs_what_is_registered(module, tmp_path):
    made = module("""
        import atexit
        atexit.register(lambda: open("ended", "w").close())

        @anyudf.udf
        def f(x: int) -> int:
            return x
        """)
    socket = tmp_path / "w.sock"
    process = subprocess.Popen(
        [sys.executable, made.path, "--connection", socket, "--standalone"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    assert eventually(socket.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert (tmp_path / "ended").exists() and not socket.exists()


def test_several_functions_and_modules_can_be_named(module):
    made = module("")
    made.path.write_text(
        "import anyudf, types\n"
        "def double(x: int) -> int:\n    return 2 * x\n"
        "other = types.ModuleType('other')\n"
        "other.triple = anyudf.udf(lambda x: 3 * x, arguments={'x': int}, returns=int, name='triple')\n"
        "anyudf.serve(double, other)\n"
    )
    assert made.column("double", NUMBERS) == [2, 4, None, 8]
    assert made.column("triple", NUMBERS) == [3, 6, None, 12]


def test_the_state_of_a_thread_lasts_as_long_as_its_execution(module):
    made = module(
        """
        import threading
        here = threading.local()

        @anyudf.udf
        def count(x: int) -> int:
            here.count = getattr(here, "count", 0) + 1
            return here.count

        @anyudf.udf
        def asked(x: int) -> str:
            told = anyudf.invocation()
            return f"{told.timezone} {told.input_schema.names} {told.name}"
        """
    )
    counted = made.column("count", pa.table({"x": list(range(100))}), "--batch-rows", "10", "--jobs", "1")
    assert counted == list(range(1, 101))
    assert made.column("asked", {"x": [1]}, "--timezone", "Europe/Paris")[0].startswith("Europe/Paris ['x'] asked")


def test_the_kit_finds_nothing(tmp_path):
    """A part of the kit, which takes a minute as a whole: what has to do with how functions end."""
    command = [program(), "conformance", "--offer", "all", "--start-timeout", "30s"]
    for pattern in ("execute/cancel/*", "execute/errors/*", "shutdown/*", "timeouts/*"):
        done = subprocess.run(
            [*command, "--run", pattern, "--", sys.executable, "-m", "anyudf.worker", "--without-token"],
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
        )
        told = "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("pass", "choice", "skip")))
        assert done.returncode == 0, told + done.stderr
