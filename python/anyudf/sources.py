"""Batches of whatever tables there are: nothing is copied, and a stream is read as it is asked for.

What the caller has made is asked here for its batches and schemas, and the native half is given what these are: what a caller
does may take any time, and has no frame of the native half below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeAlias

import pyarrow as pa

from anyudf._native import Batch, Reader
from anyudf.errors import MisuseError

__all__ = ["Given", "Source", "batch_of", "schema_of"]

# What is sent: the native half has its own for what pyarrow never looks into.
Given: TypeAlias = pa.RecordBatch | Batch

# A batch of a query, where we are asked.
_ROWS = 65_536


class Source:
    """The batches of a table, a stream, or an iterable of such, and their schema as far as it is known before.

    `told` is told how many rows each has, when it is asked for.
    """

    def __init__(self, data: Any, told: Callable[[int], None] | None = None) -> None:
        self.schema: pa.Schema | None
        self._told = told
        self._ahead: list[Given] = []
        self.schema, self._batches = _open(data)

    def peek(self) -> pa.Schema | None:
        """The schema: that of the first batch, where nothing else tells. `None` where there is no batch."""
        if self.schema is None:
            for batch in self._batches:
                self._ahead.append(batch)
                self.schema = batch.schema
                break
        return self.schema

    def __iter__(self) -> Iterator[Given]:
        batches = chain(self._ahead, self._batches)
        if self._told is None:
            yield from batches
        else:
            for batch in batches:
                self._told(batch.num_rows)
                yield batch


def batch_of(data: Any) -> Given:
    """The batch that this is."""
    if isinstance(data, (pa.RecordBatch, Batch)):
        return data
    if not hasattr(data, "__arrow_c_array__"):
        raise _no_table(data)
    try:
        return pa.record_batch(data)
    except pa.ArrowInvalid as error:
        raise _no_table(data, _ALONE) from error


def schema_of(data: Any) -> pa.Schema:
    """The schema that this is."""
    return data if isinstance(data, pa.Schema) else pa.schema(data)


def is_in_memory(data: Any) -> bool:
    """Whether its batches are there already, so that asking for the next one never waits."""
    return data is None or isinstance(data, (pa.Table, pa.RecordBatch, Mapping, list, tuple)) or _is_frame(data)


def rows_of(data: Any) -> int | None:
    """How many rows there are, if that can be told without reading them."""
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        return int(data.num_rows)
    return len(data) if _is_frame(data) else None


def _open(data: Any) -> tuple[pa.Schema | None, Iterator[Given]]:
    if isinstance(data, pa.RecordBatch):
        return data.schema, iter((data,))
    # An iterator of its own, as pyarrow's reader is and our results are, raises what its source raised, and not a text of it.
    if hasattr(data, "__next__") and hasattr(data, "__arrow_c_stream__"):
        schema = getattr(data, "schema", None)
        if isinstance(schema, pa.Schema):
            return schema, _flat(data)
    if _is_pandas(data):
        data = pa.Table.from_pandas(data, preserve_index=False)
    elif isinstance(data, Mapping):
        data = _columns(data)
    if type(data).__name__ == "DuckDBPyRelation" and not hasattr(data, "to_arrow_reader"):
        # An older DuckDB, which runs a query to its end before it gives a stream of its own.
        reader = data.fetch_arrow_reader(_ROWS)
        return reader.schema, iter(reader)
    if hasattr(data, "__arrow_c_stream__"):
        stream = data.__arrow_c_stream__()
        try:
            reader = Reader(stream)
        except ValueError as error:
            raise _no_table(data, _ALONE) from error
        schema = reader.schema
        if not any(_has_null(field.type) for field in schema):
            return schema, reader
        if not _is_polars(data):
            return schema, _told(reader)
        # Its columns of nulls have a buffer, which Arrow says they have not; pyarrow takes them so. It is in memory: another
        # stream is the same.
        again = pa.RecordBatchReader.from_stream(data)
        return again.schema, iter(again)
    if hasattr(data, "__arrow_c_array__"):
        batch = batch_of(data)
        return batch.schema, iter((batch,))
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return None, _flat(data)
    raise _no_table(data)


def _told(reader: Reader) -> Iterator[Given]:
    """The batches of a stream that has columns of nulls, which are where those who make streams err."""
    try:
        yield from reader
    except ValueError as error:
        raise MisuseError(
            f"{error}; it has a column of type null, which may not be as Arrow has it: give the column another type, or "
            "pyarrow.table(…) of the data",
            condition="NO_TABLE",
        ) from error


def _has_null(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or any(_has_null(kind.field(at).type) for at in range(kind.num_fields))


def _columns(columns: Mapping[str, Any]) -> pa.Table:
    try:
        return pa.table(dict(columns))
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise MisuseError(
            f"a mapping is taken for columns, each a list or an array of values: {error}; of rows make a table with "
            "pyarrow.Table.from_pylist",
            condition="NO_TABLE",
        ) from error


# Of an array, a series.
_ALONE = "; a column alone is none, a mapping of its name to it is"


def _flat(items: Iterable[Any]) -> Iterator[Given]:
    for item in items:
        if isinstance(item, (pa.RecordBatch, Batch)):
            yield item
        elif _is_table(item):
            yield from _open(item)[1]
        else:
            raise _no_table(item)


def _is_table(item: Any) -> bool:
    speaks_arrow = hasattr(item, "__arrow_c_stream__") or hasattr(item, "__arrow_c_array__")
    return speaks_arrow or _is_pandas(item) or isinstance(item, Mapping)


def _is_frame(data: Any) -> bool:
    return type(data).__name__ == "DataFrame"


def _is_pandas(data: Any) -> bool:
    return type(data).__name__ == "DataFrame" and _is_of(data, "pandas")


def _is_polars(data: Any) -> bool:
    return type(data).__name__ in ("DataFrame", "Series") and _is_of(data, "polars")


def _is_of(data: Any, package: str) -> bool:
    return type(data).__module__.partition(".")[0] == package


def _no_table(data: Any, hint: str = "") -> MisuseError:
    if type(data).__name__ == "LazyFrame":
        hint = "; call its collect() first"
    return MisuseError(
        f"an object of type {type(data).__name__} is no table, batch, stream, or iterable of such{hint}; anything "
        "will do that speaks Arrow, such as tables of pyarrow, polars, pandas and DuckDB",
        condition="NO_TABLE",
    )
