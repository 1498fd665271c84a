"""Functions of workers in Spark: over the rows of a DataFrame, as functions of columns, and in SQL.

PySpark 4.0 and newer, by its public interface alone. Each of Spark's Python processes has a dispatcher for each worker
specification, whose workers serve one task after the other. docs/spark.md is the guide.

    import anyudf.spark

    anyudf.spark.map_in_arrow(flights, "distance_miles", args=["lat1", "lon1", "lat2", "lon2"], append="miles")

    distance_miles = anyudf.spark.function(None, "distance_miles")
    spark.udf.register("distance_miles", distance_miles)
"""

try:
    import pyspark  # noqa: F401
except ImportError as missing:
    raise ImportError("anyudf.spark needs PySpark: pip install 'anyudf[spark]'") from missing

from .columns import function
from .frames import map_in_arrow
from .shipping import shipped

__all__ = ["function", "map_in_arrow", "shipped"]
