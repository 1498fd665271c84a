"""Spark for the tests: sessions that are small, and a watch over the processes that they start."""

import faulthandler
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("pyspark", minversion="4.0")

import pyspark
from pyspark.sql import SparkSession, functions

import anyudf.spark

DATA = Path(__file__).resolve().parents[3] / "data"
# Whoever inherits it was started from here, by whatever hands.
MARK = f"ANYUDF_SPARK_TESTS={uuid.uuid4().hex}"
os.environ.update([MARK.split("=")])
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


@pytest.fixture(autouse=True)
def bounded():
    """No test takes for ever: the process ends, and all that it has started."""
    faulthandler.dump_traceback_later(100, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def session(master, **config):
    builder = SparkSession.builder.master(master).appName("anyudf")
    config = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "Europe/Paris",
        **config,
    }
    for key, value in config.items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("OFF")
    return made


@pytest.fixture(scope="module")
def spark():
    """Two threads of this process's JVM; a task is tried twice."""
    made = session("local[2,2]")
    yield made
    made.stop()
    assert gone(), f"left behind: {gone.left}"


@pytest.fixture(scope="module")
def flights(spark):
    return spark.read.parquet(str(DATA / "flights-sample.parquet")).cache()


def applied(df, function, *columns, worker=None, returns=None, **said):
    """The rows of `df` with what a function gives for these columns as `value`: by a function of columns
    where Spark has such, and else by what there is instead."""
    if hasattr(functions, "arrow_udf"):
        made = anyudf.spark.function(worker, function, returns=returns, **said)
        return df.select("*", made(*columns).alias("value"))
    said.pop("volatility", None)
    return anyudf.spark.map_in_arrow(
        df, function, worker=worker, args=list(columns), append="value", schema=returns, **said
    )


class Process:
    """A process that was started from here."""

    def __init__(self, pid):
        self.pid = pid
        self.command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")

    @property
    def is_worker(self):
        return "--connection" in self.command

    @property
    def is_python_of_spark(self):
        return "pyspark.daemon" in self.command

    @property
    def is_executor(self):
        return any("CoarseGrainedExecutorBackend" in word for word in self.command)

    def parent(self):
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[1])

    def kill(self):
        """SIGKILL. False when it was gone already."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def __repr__(self):
        return f"{self.pid} {' '.join(self.command)[:100]}"


def processes():
    """All that carry the mark, this one aside."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            try:
                if MARK.encode() in (place / "environ").read_bytes().split(b"\0"):
                    found.append(Process(int(place.name)))
            except OSError:
                continue  # it has ended
    return found


def workers():
    return [process for process in processes() if process.is_worker]


def pythons():
    """Spark's Python workers: not the daemons that they are forked from."""
    found = [process for process in processes() if process.is_python_of_spark]
    pids = {process.pid for process in found}
    return [process for process in found if _parent(process) in pids]


def _parent(process):
    try:
        return process.parent()
    except OSError:
        return 0


def eventually(what, seconds=15.0):
    """What `what` returns as soon as it is true, or at last what it returns in the end."""
    until = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def gone(seconds=15.0):
    """Whether all workers end by themselves."""
    ended = eventually(lambda: not workers(), seconds)
    gone.left = workers()
    return ended
