"""Columns in the types that a function takes, and results in those that Spark takes.

As in SQL, numbers become numbers and representations of the same thing give way; text never becomes a number. A value that
does not fit is an error, never another value; only that a whole number may lose its last digits in a floating one.
"""

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Arguments", "cast", "fields_for", "refuse_misfits", "takes"]

DEFAULT = b"anyudf.default"
VARIADIC = b"anyudf.variadic"
TAKES_ALIKE = b"anyudf.takes_alike"


def fields_for(function, arguments, count):
    """The fields of a function's arguments for so many columns: those that are left out are not among them, the last one may
    be many.

    Raises `TypeError` when the function does not take so many.
    """
    fields = list(arguments)
    variadic = bool(fields) and _says(fields[-1], VARIADIC)
    single = fields[:-1] if variadic else fields
    least = max((place for place, field in enumerate(single, 1) if not _says(field, DEFAULT)), default=0)
    if least <= count <= len(single) or (variadic and least <= count):
        return single[:count] + fields[-1:] * (count - len(single))
    words = f"at least {least}" if variadic else f"{least}" if least == len(single) else f"{least} to {len(single)}"
    names = ", ".join(f"{field.name} {field.type}" for field in fields)
    raise TypeError(f"function `{function}` takes {words} columns ({names}), and is given {count}")


def refuse_misfits(function, schema, fields):
    """Raises `TypeError` for the first column of `schema` that does not become what the function takes."""
    for place, (given, field) in enumerate(zip(schema, fields), 1):
        if not takes(given.type, field.type):
            raise TypeError(
                f"function `{function}` takes {field.type} for `{field.name}` (column {place}), and is given {given.type};"
                " cast the column to what it takes"
            )


class Arguments:
    """Makes batches that a function takes of columns as Spark has them. All batches of one are alike."""

    def __init__(self, function, arguments, schema):
        """`arguments` is the schema of what the function takes, or None: it takes any columns."""
        if arguments is None:
            self._targets, self.schema = [None] * len(schema), schema
            return
        fields = fields_for(function, arguments, len(schema))
        refuse_misfits(function, schema, fields)
        self._targets = [
            None if field.type == given.type or _is_alike(field, given.type) else field.type
            for given, field in zip(schema, fields)
        ]
        targets = zip(schema, fields, self._targets)
        self.schema = pa.schema([pa.field(field.name, target or given.type) for given, field, target in targets])
        self._names = [field.name for field in schema]

    def of(self, columns, rows):
        """The batch of these columns, which have so many rows."""
        if not columns:
            # There is no other way to have rows without columns.
            return pa.record_batch([pa.nulls(rows)], names=["_"]).select([])
        arrays = [column if target is None else cast(column, target) for column, target in zip(columns, self._targets)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def cast(array, type):
    """An array in another type; itself when it has it. Raises `pyarrow.ArrowInvalid` for a value that does not fit."""
    if array.type == type:
        return array
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    inexact = pa.types.is_floating(type) and pa.types.is_integer(array.type)
    return array.cast(options=pc.CastOptions(type, allow_float_truncate=inexact))


def _says(field, key):
    return bool(field.metadata) and key in field.metadata


def _is_alike(field, given):
    """Whether the function takes the column as it is, though it is of another type."""
    wanted = field.type
    if not _says(field, TAKES_ALIKE) or field.metadata[TAKES_ALIKE] != b"true":
        return False
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(given):
        return (wanted.tz is None) == (given.tz is None)
    return any(wanted in family and given in family for family in (_TEXT, _BYTES))


def _views(name):
    return {getattr(pa, name)()} if hasattr(pa, name) else set()


_TEXT = {pa.string(), pa.large_string()} | _views("string_view")
_BYTES = {pa.binary(), pa.large_binary()} | _views("binary_view")


def takes(given, wanted):
    """Whether a column of the type `given` is taken where `wanted` is."""
    types = pa.types
    given, wanted = _plain(given), _plain(wanted)
    if given == wanted or types.is_null(given):
        return True
    both = lambda test: test(given) and test(wanted)
    if types.is_integer(given) or types.is_decimal(given):
        # Whole numbers also become narrower ones: Spark has no unsigned ones, and a literal in SQL is an int.
        return types.is_floating(wanted) or types.is_decimal(wanted) or both(types.is_integer)
    if types.is_date(given):
        return types.is_date(wanted) or (types.is_timestamp(wanted) and wanted.tz is None)
    if both(types.is_timestamp):
        return (given.tz is None) == (wanted.tz is None)
    if both(_is_list):
        return takes(given.value_type, wanted.value_type)
    if both(types.is_struct):
        names = [field.name for field in given] == [field.name for field in wanted]
        return names and all(takes(one.type, other.type) for one, other in zip(given, wanted))
    if both(types.is_map):
        return takes(given.key_type, wanted.key_type) and takes(given.item_type, wanted.item_type)
    if both(types.is_floating):
        # A narrower one can't be told what does not fit.
        return given.bit_width <= wanted.bit_width
    families = (types.is_time, types.is_duration, _TEXT.__contains__, _is_bytes)
    return any(both(test) for test in families)


def _plain(type):
    """The type of the values, however they are laid out."""
    while pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        type = type.value_type
    return type


def _is_list(type):
    return pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type)


def _is_bytes(type):
    return type in _BYTES or pa.types.is_fixed_size_binary(type)
