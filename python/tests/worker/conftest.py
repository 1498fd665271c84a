"""Workers as processes, called by the program `anyudf`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

#: No call takes this long; one that does has gone wrong.
PATIENCE = 60


def program() -> str:
    """The program `anyudf` of this environment."""
    beside = Path(sys.executable).parent / "anyudf"
    return str(beside) if beside.exists() else shutil.which("anyudf") or pytest.fail("there is no program `anyudf`")


class Outcome:
    """How the program ended."""

    def __init__(self, code: int, output: str, errors: str):
        self.code, self.output, self.errors = code, output, errors

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.output}\n{self.errors}"


class Module:
    """A module of functions, served by a process of its own."""

    def __init__(self, directory: Path, source: str):
        self.directory = directory
        self.path = directory / "functions.py"
        head = "import anyudf, os, sys, time\nimport pyarrow as pa\nimport pyarrow.compute as pc\n"
        self.path.write_text(head + textwrap.dedent(source) + "\nif __name__ == '__main__':\n    anyudf.serve()\n")
        self.env = dict(os.environ)

    @property
    def worker(self) -> str:
        return f"{sys.executable} {self.path}"

    def command(self, *arguments: str) -> list[str]:
        return [program(), *arguments, "--worker", self.worker]

    def call(self, *arguments: str) -> Outcome:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE, env=self.env, cwd=self.directory
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def run(self, function: str, columns: dict | pa.Table | None = None, *more: str, verbose: bool = False) -> Outcome:
        """Calls a function with columns, in this order, as its arguments."""
        arguments = ["-v"] if verbose else []
        return self.call(*arguments, "run", "--function", function, *self.input(columns), *more)

    def input(self, columns: dict | pa.Table | None) -> list[str]:
        if columns is None:
            return []
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, self.directory / "input.parquet")
        return ["--input", str(self.directory / "input.parquet")]

    def table(self, function: str, columns: dict | pa.Table | None = None, *more: str) -> pa.Table:
        """What a function gives."""
        output = self.directory / "output.parquet"
        outcome = self.run(function, columns, "--output", str(output), "--force", *more)
        assert outcome.code == 0, outcome
        return pq.read_table(output)

    def column(self, function: str, columns: dict | pa.Table, *more: str) -> list:
        """The column that a scalar function gives."""
        names = list(columns) if isinstance(columns, dict) else columns.column_names
        return self.table(function, columns, "--args", ",".join(names), *more).column(function).to_pylist()

    def fails(self, function: str, columns: dict | None = None, *more: str) -> Outcome:
        """How a function fails, with what its worker printed."""
        args = ["--args", ",".join(columns)] if columns is not None else []
        outcome = self.run(function, columns, *args, *more, verbose=True)
        assert outcome.code == 1, outcome
        return outcome

    def start(self, *arguments: str) -> subprocess.Popen:
        """Starts the program, to be interrupted."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*arguments), stdout=pipe, stderr=pipe, text=True, env=self.env)

    def processes(self) -> list[int]:
        """The processes of this module that run."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes() if entry.isdigit() else b""
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0] if command else "Z"
            except OSError:
                continue
            if str(self.path).encode() in command and state != "Z" and b"--connection" in command:
                found.append(int(entry))
        return found


@pytest.fixture
def module(tmp_path):
    """Makes modules; none leaves a process behind."""
    made = []

    def make(source: str) -> Module:
        made.append(Module(tmp_path, source))
        return made[-1]

    yield make
    for one in made:
        assert eventually(lambda one=one: not one.processes()), f"left behind: {one.processes()}"


def eventually(holds, patience: float = 15) -> bool:
    """Whether something becomes so."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return bool(holds())


def interrupted(process: subprocess.Popen) -> Outcome:
    """Interrupts the program as Ctrl-C does, which cancels, and waits for its end."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    return Outcome(process.returncode, output, errors)


__all__ = ["Module", "Outcome", "eventually", "interrupted", "json", "program"]
