"""Arrow's types and Spark's, each as the other has them.

Spark has fewer: unsigned numbers become wider signed ones, views and dictionaries what they hold, lists arrays. What Spark
can't hold is refused here, on the driver, before anything runs.
"""

import pyarrow as pa
from pyspark.sql import types as spark

__all__ = ["schema_to_arrow", "schema_to_spark", "to_arrow", "to_spark"]

# Spark's own limit, and that of Arrow's decimal128.
DIGITS = 38


def to_spark(type):
    """The type that a Spark column has for an Arrow one.

    >>> to_spark(pa.uint32())
    LongType()
    >>> to_spark(pa.list_(pa.float64()))
    ArrayType(DoubleType(), True)

    Raises `TypeError` for a type that Spark has no match for.
    """
    simple = _SIMPLE.get(type)
    if simple is not None:
        return simple
    for test, convert in _FAMILIES:
        if test(type):
            return convert(type)
    raise _unknown(type, "Spark has no such type")


def to_arrow(type):
    """The Arrow type by which Spark takes a column of one of its types from Python.

    >>> to_arrow(spark.TimestampType())
    TimestampType(timestamp[us, tz=UTC])

    Raises `TypeError` for a type that does not cross: variants, and intervals of months.
    """
    simple = _ARROW.get(type.typeName())
    if simple is not None:
        return simple
    match type:
        case spark.DecimalType():
            return pa.decimal128(type.precision, type.scale)
        case spark.StringType() | spark.CharType() | spark.VarcharType():
            return pa.string()
        case spark.DayTimeIntervalType():
            return pa.duration("us")
        case spark.ArrayType():
            return pa.list_(pa.field("element", to_arrow(type.elementType), type.containsNull))
        case spark.MapType():
            value = pa.field("value", to_arrow(type.valueType), type.valueContainsNull)
            return pa.map_(pa.field("key", to_arrow(type.keyType), False), value)
        case spark.StructType():
            return pa.struct(schema_to_arrow(type))
        case spark.UserDefinedType():
            return to_arrow(type.sqlType())
    raise TypeError(f"columns of Spark's type {type.simpleString()} can't be exchanged with functions")


def schema_to_spark(schema):
    """An Arrow schema as a `StructType`.

    >>> schema_to_spark(pa.schema({"miles": pa.float64()})).simpleString()
    'struct<miles:double>'
    """
    return spark.StructType([spark.StructField(field.name, to_spark(field.type), field.nullable) for field in schema])


def schema_to_arrow(struct):
    """A `StructType` as an Arrow schema.

    >>> schema_to_arrow(spark.StructType().add("miles", "double"))
    miles: double
    """
    return pa.schema([pa.field(field.name, to_arrow(field.dataType), field.nullable) for field in struct])


_SIMPLE = {
    pa.null(): spark.NullType(),
    pa.bool_(): spark.BooleanType(),
    pa.int8(): spark.ByteType(),
    pa.int16(): spark.ShortType(),
    pa.int32(): spark.IntegerType(),
    pa.int64(): spark.LongType(),
    pa.uint8(): spark.ShortType(),
    pa.uint16(): spark.IntegerType(),
    pa.uint32(): spark.LongType(),
    pa.uint64(): spark.DecimalType(20, 0),
    pa.float16(): spark.FloatType(),
    pa.float32(): spark.FloatType(),
    pa.float64(): spark.DoubleType(),
    pa.date32(): spark.DateType(),
    pa.date64(): spark.DateType(),
}

# By `typeName`, since not every version of Spark has all of them.
_ARROW = {
    "void": pa.null(),
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "time": pa.time64("ns"),
}


def _is(*names):
    """Whether a type is of one of these families; those that this pyarrow does not know are left out."""
    tests = [test for name in names if (test := getattr(pa.types, f"is_{name}", None))]
    return lambda type: any(test(type) for test in tests)


def _decimal(type):
    precision, scale = type.precision, type.scale
    if scale < 0:
        precision, scale = precision - scale, 0
    if precision > DIGITS:
        raise _unknown(type, f"Spark's decimals have {DIGITS} digits")
    return spark.DecimalType(precision, scale)


def _time(type):
    if not hasattr(spark, "TimeType"):
        raise _unknown(type, "this version of Spark has no type for times of day")
    return spark.TimeType()


def _array(type):
    return spark.ArrayType(to_spark(type.value_type), type.value_field.nullable)


def _map(type):
    return spark.MapType(to_spark(type.key_type), to_spark(type.item_type), type.item_field.nullable)


def _timestamp(type):
    return spark.TimestampNTZType() if type.tz is None else spark.TimestampType()


_FAMILIES = [
    (_is("string", "large_string", "string_view"), lambda _: spark.StringType()),
    (_is("binary", "large_binary", "fixed_size_binary", "binary_view"), lambda _: spark.BinaryType()),
    (_is("decimal"), _decimal),
    (_is("timestamp"), _timestamp),
    (_is("duration"), lambda _: spark.DayTimeIntervalType()),
    (_is("time"), _time),
    (_is("list", "large_list", "fixed_size_list", "list_view", "large_list_view"), _array),
    (_is("map"), _map),
    (_is("struct"), schema_to_spark),
    (_is("dictionary", "run_end_encoded"), lambda type: to_spark(type.value_type)),
    (lambda type: isinstance(type, pa.BaseExtensionType), lambda type: to_spark(type.storage_type)),
]


def _unknown(type, why):
    return TypeError(f"Arrow's type {type} can't be a column of Spark: {why}")
