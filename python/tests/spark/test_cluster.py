"""Executors in JVMs of their own, as on a cluster. `cluster.py` does the same with more rows and more victims."""

import pytest
from pyspark.sql import functions as F

from .conftest import DATA, applied, eventually, gone, processes, session, workers
from .test_faults import Gate, asked, held_query


@pytest.fixture(scope="module")
def cluster():
    made = session("local-cluster[2,1,1024]")
    yield made
    made.stop()
    assert gone(), f"left behind: {workers()}"


def test_both_executors_have_workers(cluster):
    flights = cluster.read.parquet(str(DATA / "flights-sample.parquet")).repartition(8)
    rows = applied(flights, "distance_miles", "origin_lat", "origin_lon", "dest_lat", "dest_lon")
    (row,) = rows.agg(F.count("value"), F.avg(F.abs(F.col("value") - F.col("distance")) / F.col("distance"))).collect()
    assert row[0] == 120_000 and row[1] < 0.02
    executors = {process.pid for process in processes() if process.is_executor}
    assert len(executors) == 2 and len(workers()) == 2


def test_what_an_executor_did_not_finish_is_done_by_another(cluster, tmp_path):
    gate = Gate(tmp_path)
    with asked(held_query(cluster, gate), gate) as answer:
        held = eventually(gate.here, 60)
        victim = next(process for process in processes() if process.is_executor)
        victim.kill()
        # Spark's Python process hears of it, and so does the worker.
        assert eventually(lambda: len([worker for worker in workers() if worker.pid in held]) < 2)
        gate.open()
        assert answer.result() == [(sum(range(20_000)),)]
