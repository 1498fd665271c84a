"""How a worker comes to where it runs: installed, shipped by Spark, or installed by its specification."""

import shutil

import pytest
from pyspark.sql import functions as F

import anyudf.spark
from anyudf.engine import bundled

from .conftest import applied, workers

PLACES = ["lat1", "lon1", "lat2", "lon2"]


def check(spark, worker):
    """The worker computes on all partitions, and comes from where `place` says."""
    rows = spark.range(0, 1000, 1, 4).select(*[(F.col("id") % 90).alias(name) for name in PLACES])
    (row,) = applied(rows, "distance_miles", *PLACES, worker=worker).agg(F.count("value")).collect()
    assert row[0] == 1000


def test_installed_on_the_executors(spark):
    check(spark, bundled())
    check(spark, " ".join(bundled()))


def test_as_a_file(spark, tmp_path):
    program = tmp_path / "my-worker"
    shutil.copy(bundled()[0], program)
    spark.sparkContext.addFile(str(program))
    check(spark, [anyudf.spark.shipped("my-worker"), "worker"])
    assert any("userFiles" in worker.command[0] for worker in workers())


def test_as_an_artifact_of_the_session(spark, tmp_path):
    program = tmp_path / "an-artifact"
    shutil.copy(bundled()[0], program)
    spark.addArtifact(str(program), file=True)
    check(spark, [anyudf.spark.shipped("an-artifact"), "worker"])


def test_in_an_archive(spark, tmp_path):
    (tmp_path / "geo" / "bin").mkdir(parents=True)
    shutil.copy(bundled()[0], tmp_path / "geo" / "bin" / "my-worker")
    archive = shutil.make_archive(str(tmp_path / "geo"), "gztar", tmp_path / "geo")
    spark.sparkContext.addArchive(f"{archive}#geo")
    check(spark, [anyudf.spark.shipped("geo/bin/my-worker"), "worker"])


def test_what_was_not_shipped_is_named(spark):
    with pytest.raises(FileNotFoundError, match="`nowhere/worker` is not among the files that Spark brought here"):
        applied(spark.range(1), "f", "id", worker=[anyudf.spark.shipped("nowhere/worker")])


def test_installed_by_the_specification(spark, tmp_path):
    place, log = tmp_path / "env", tmp_path / "log"
    put = f"mkdir -p {place}; cp {bundled()[0]} {place}/.new && mv {place}/.new {place}/worker"
    install = f'flock {tmp_path} sh -c "test -x {place}/worker || (echo installed >>{log}; {put})"'
    specification = {
        "environment": {
            "installation": {"command": ["sh", "-c", install]},
            "environmentVerification": {"command": ["test", "-x", f"{place}/worker"]},
        },
        "capabilities": {
            "supportedDataFormats": ["ARROW"],
            "supportedCommunicationPatterns": ["BIDIRECTIONAL_STREAMING"],
            "supportsConcurrentUdfs": True,
            "supportsReuse": True,
        },
        "direct": {
            "runner": {"command": [f"{place}/worker", "worker"]},
            "properties": {"connection": {"unixDomainSocket": {}}},
        },
    }
    rows = spark.range(0, 1000, 1, 4).select(*[(F.col("id") % 90).alias(name) for name in PLACES])
    # Nothing is asked on the driver: what is installed is installed by the executors.
    said = {"returns": "double", "volatility": "immutable"}
    (row,) = applied(rows, "distance_miles", *PLACES, worker=specification, **said).agg(F.count("value")).collect()
    assert row[0] == 1000 and log.read_text() == "installed\n"


def test_workers_serve_one_task_after_the_other(spark):
    rows = spark.range(0, 1000, 1, 12).select(*[(F.col("id") % 90).alias(name) for name in PLACES])
    query = applied(rows, "distance_miles", *PLACES, worker=[*bundled(), "--mine"]).agg(F.count("value"))
    mine = lambda: [worker.pid for worker in workers() if "--mine" in worker.command]
    query.collect()
    first = mine()
    query.collect()
    assert 1 <= len(first) <= 2 and set(first) <= set(mine())
