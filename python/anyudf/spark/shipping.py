"""Workers that Spark brings to its executors."""

import os

from pyspark import SparkFiles

__all__ = ["Shipped", "located", "shipped"]


class Shipped(str):
    """A path among the files that Spark brought: where they are is known on each executor alone. See `shipped`."""

    def __repr__(self):
        return f"anyudf.spark.shipped({str(self)!r})"

    def __reduce__(self):
        return Shipped, (str(self),)


def shipped(path: str) -> Shipped:
    """A file that Spark ships: by `spark.archives` or `--archives`, `SparkContext.addFile`, or `SparkSession.addArtifact`.

    It may stand for the worker's specification, or for words of its command:

    >>> worker = [shipped("geo/my-worker"), "--threads=4"]

    The path begins with the name of the file, or with what stands behind `#` in the archive's address.
    """
    return Shipped(path)


def located(worker):
    """A worker with the paths that this process has for what was shipped.

    Raises `FileNotFoundError` for what is not there.
    """
    match worker:
        case Shipped():
            path = SparkFiles.get(worker)
            if not os.path.exists(path):
                raise FileNotFoundError(
                    f"`{worker}` is not among the files that Spark brought here, in {SparkFiles.getRootDirectory()}: ship it"
                    " with spark.archives, addFile or addArtifact"
                )
            return path
        case dict():
            return {name: located(value) for name, value in worker.items()}
        case list() | tuple():
            return [located(word) for word in worker]
    return worker
