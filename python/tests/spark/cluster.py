"""Flights and their airports on a Spark cluster of two executors, the distance from a worker in Rust, and what SIGKILL does.

    python tests/spark/cluster.py FLIGHTS.parquet AIRPORTS.csv [--kill] [--master 'local-cluster[2,1,1024]']

The answer is right when every row came through the function and the distance is within 2 % of the published one in the
mean. With --kill the workers, a Python process of Spark's and an executor are killed while it runs, one after the other, and
the answer must be the same. Exits with 1 if it is not, or if a process is left behind.
"""

import argparse
import random
import sys
import threading
import time

import conftest as harness
from pyspark.sql import functions as F

import anyudf.spark


def main():
    arguments = parsed()
    spark = harness.session(arguments.master, **{"spark.task.maxFailures": "8", "spark.executorEnv.OMP_NUM_THREADS": "1"})
    try:
        print(f"Spark {spark.version}, {arguments.master}, {arguments.partitions} partitions", flush=True)
        query = flights(spark, arguments)
        began = time.perf_counter()
        if arguments.kill:
            with Killer(spark, arguments.partitions) as killer:
                answer = query.collect()
            killer.report()
            right = bool(killer.killed)
        else:
            answer, right = query.collect(), True
        right = told(*answer, time.perf_counter() - began) and right
    finally:
        spark.stop()
    left = [] if harness.gone() else harness.workers()
    print(f"workers left behind: {left or 'none'}")
    sys.exit(0 if right and not left else 1)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("flights")
    parser.add_argument("airports")
    parser.add_argument("--master", default="local-cluster[2,1,1024]")
    parser.add_argument("--partitions", type=int, default=44)
    parser.add_argument("--kill", action="store_true", help="kill workers, a Python process and an executor while it runs")
    return parser.parse_args()


def flights(spark, arguments):
    """How many flights there are, how many have a distance, and how far it is from the published one."""
    airports = spark.read.csv(arguments.airports, header=True, inferSchema=True).select("iata", "latitude", "longitude")
    at = lambda end: F.broadcast(airports.toDF(end, f"{end}_lat", f"{end}_lon"))
    rows = spark.read.parquet(arguments.flights).select("origin", "destination", "distance")
    rows = rows.repartition(arguments.partitions)
    joined = rows.join(at("origin"), "origin", "left").join(at("destination"), "destination", "left")
    distance_miles = anyudf.spark.function(None, "distance_miles", spark=spark)
    miles = distance_miles("origin_lat", "origin_lon", "destination_lat", "destination_lon")
    return joined.select("distance", miles.alias("miles")).agg(
        F.count("*").alias("rows"),
        F.count("miles").alias("known"),
        F.avg("miles").alias("miles"),
        F.avg("distance").alias("distance"),
        F.avg(F.abs(F.col("miles") - F.col("distance")) / F.col("distance")).alias("error"),
    )


def told(answer, seconds):
    """Prints the answer, and returns whether it is right."""
    print(
        f"{answer.rows:,} rows in {seconds:.1f} s, {answer.known:,} between known airports; in the mean {answer.miles:.2f} miles,"
        f" published {answer.distance:.2f}; each is off by {answer.error:.3%} in the mean",
        flush=True,
    )
    return answer.rows > 0 and answer.known > 0.99 * answer.rows and answer.error < 0.02


class Killer(threading.Thread):
    """Kills while a query runs: a worker now and again, a Python process of Spark's once, an executor once."""

    def __init__(self, spark, partitions):
        super().__init__(daemon=True)
        self.tracker = spark.sparkContext.statusTracker()
        self.partitions = partitions
        self.killed = []
        self.failed = {}
        self.widest = set()
        self.ended = threading.Event()
        shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
        victims = ["worker", "worker", "python", "worker", "executor", "worker", "worker", "worker"]
        self.plan = list(zip(shares, victims))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def run(self):
        while not self.ended.wait(0.05):
            done = self._done()
            while self.plan and done >= self.plan[0][0] * self.partitions and (process := self._victim(self.plan[0][1])):
                if process.kill():
                    self.killed.append((self.plan.pop(0)[1], process.pid, done))

    def _victim(self, what):
        found = {"worker": harness.workers, "python": harness.pythons, "executor": executors}[what]()
        return random.choice(found) if found else None

    def _done(self):
        """Tasks done of the stage with the function, which is the widest. One that runs again has those alone that are lost."""
        done = 0
        for stage in self.tracker.getActiveStageIds():
            information = self.tracker.getStageInfo(stage)
            if information is None:
                continue
            self.failed[stage, information.currentAttemptId] = information.numFailedTasks
            if information.numTasks == self.partitions:
                self.widest.add(stage)
            if stage in self.widest:
                done = max(done, self.partitions - information.numTasks + information.numCompletedTasks)
        return done

    def report(self):
        for what, pid, done in self.killed:
            print(f"SIGKILL to {what} {pid}, when {done} of {self.partitions} tasks were done")
        again = len({attempt for attempt in self.failed if attempt[1] > 0})
        failed = sum(self.failed.values())
        print(f"{len(self.killed)} killed; {failed} tasks failed and ran again, {again} stages too", flush=True)


def executors():
    return [process for process in harness.processes() if process.is_executor]


if __name__ == "__main__":
    main()
