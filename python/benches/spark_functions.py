"""The functions of the benchmark, in Python. A module of its own, so that what travels is small."""

import re
from datetime import datetime, timezone

import numpy
import pyarrow as pa

import anyudf

LINE = re.compile(r'(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)[^"]*" (\d+) (\d+|-)')
TIME = re.compile(r"\[([^\]]+)\]")
ACCESS = pa.struct(
    {
        "host": pa.string(),
        "at": pa.timestamp("us", "UTC"),
        "method": pa.string(),
        "path": pa.string(),
        "status": pa.int32(),
        "bytes": pa.int64(),
    }
)


def miles(lat1, lon1, lat2, lon2):
    """Great-circle distances, of arrays of numpy's in degrees."""
    lat1, lon1, lat2, lon2 = map(numpy.radians, (lat1, lon1, lat2, lon2))
    half_lat, half_lon = numpy.sin((lat2 - lat1) / 2), numpy.sin((lon2 - lon1) / 2)
    chord = half_lat**2 + numpy.cos(lat1) * numpy.cos(lat2) * half_lon**2
    return 2 * 3958.7613 * numpy.arcsin(numpy.sqrt(numpy.clip(chord, 0, 1)))


def errors(batches):
    """For mapInArrow: how far off the distance is for each row."""
    for batch in batches:
        *places, published = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        yield pa.record_batch({"error": numpy.abs(miles(*places) - published)})


@anyudf.udf(kind="batch", returns=pa.float64(), volatility="immutable")
def distance(lat1: pa.DoubleArray, lon1: pa.DoubleArray, lat2: pa.DoubleArray, lon2: pa.DoubleArray):
    return pa.array(miles(*(column.to_numpy(zero_copy_only=False) for column in (lat1, lon1, lat2, lon2))))


def access(line):
    """A line of a log taken apart; None for what is none."""
    found = LINE.match(line)
    if found is None:
        return None
    host, at, method, path, status, size = found.groups()
    at = datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z").astimezone(timezone.utc)
    return {
        "host": host,
        "at": at,
        "method": method,
        "path": path,
        "status": int(status),
        "bytes": None if size == "-" else int(size),
    }


def written(line):
    """When a line of a log was written; None for what is none."""
    found = TIME.search(line)
    return found and datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z").astimezone(timezone.utc)


def accesses(batches):
    """For mapInArrow: the lines taken apart."""
    for batch in batches:
        lines = batch.column(0).to_pylist()
        yield pa.record_batch({"access": pa.array([line and access(line) for line in lines], ACCESS)})


@anyudf.udf(kind="batch", returns=ACCESS, volatility="immutable")
def parse(line: pa.StringArray):
    return pa.array([line and access(line) for line in line.to_pylist()], ACCESS)
