"""What `spark.archives` brings to executors in JVMs of their own: a worker, and a Python with it and a module."""

import shutil
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest
from pyspark.sql import functions as F

import anyudf
import anyudf.spark
from anyudf.engine import bundled

from .conftest import eventually, gone, session, workers

PLACES = ["lat1", "lon1", "lat2", "lon2"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One executor, whose Python comes in an archive, and a worker with it."""
    packed = archive(environment(tmp_path_factory.mktemp("archives") / "environment"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYSPARK_PYTHON", "./environment/bin/python")
        made = session("local-cluster[1,1,1024]", **{"spark.archives": packed})
        yield made
        made.stop()
    assert gone(), f"left behind: {workers()}"


def archive(folder):
    # Spark refuses some .tar that it takes as .tar.gz. Packed a little: programs that were built for debugging are large.
    with tarfile.open(f"{folder}.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(folder, ".")
    return f"{archive.name}#{folder.name}"


def environment(place):
    """A Python as people pack one. What is large is found where this one has it, the worker aside."""
    venv.create(place, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    places = {sysconfig.get_path("purelib"), str(Path(anyudf.__file__).parents[1])}
    (packages / "elsewhere.pth").write_text("\n".join(places))
    (packages / "only_shipped.py").write_text("def doubled(x):\n    return 2 * x\n")
    shutil.copy(bundled()[0], place / "bin" / "anyudf")
    (place / "bin" / "geo").symlink_to("anyudf")
    return place


def rows(cluster):
    return cluster.range(0, 1000, 1, 2).select(*[(F.col("id") % 90).alias(name) for name in PLACES])


def counted(cluster, worker):
    """How many rows come back from the worker, and the programs of the workers that are there then."""
    function = {"schema": "distance_miles double"} if worker else {}
    found = anyudf.spark.map_in_arrow(rows(cluster), "distance_miles", worker=worker, **function)
    count = found.agg(F.count("*")).collect()[0][0]
    return count, [Path(process.command[0]) for process in eventually(workers)]


def test_a_worker(cluster):
    count, programs = counted(cluster, [anyudf.spark.shipped("environment/bin/geo"), "worker"])
    assert count == 1000
    assert any(program.parts[-3:] == ("environment", "bin", "geo") for program in programs), programs


def test_the_package(cluster):
    count, programs = counted(cluster, None)
    assert count == 1000
    assert any(program.parts[-3:] == ("environment", "bin", "anyudf") for program in programs), programs


def test_a_function_in_the_python_that_was_shipped(cluster):
    def where(batches):
        import sys

        import only_shipped
        import pyarrow as pa

        for batch in batches:
            doubled = [only_shipped.doubled(value.as_py()) for value in batch["lat1"]]
            yield pa.record_batch({"doubled": doubled, "python": [sys.executable] * len(doubled)})

    found = anyudf.spark.map_in_arrow(rows(cluster), where, schema="doubled long, python string")
    answer = found.agg(F.sum("doubled"), F.first("python"), F.count_distinct("python")).collect()[0]
    assert answer[0] == sum(2 * (n % 90) for n in range(1000)) and answer[2] == 1
    assert answer[1].endswith("/environment/bin/python") and answer[1] != sys.executable
