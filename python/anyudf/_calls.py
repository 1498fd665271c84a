"""What the native half calls for Python functions: loops, conversions, and what is told of an exception."""

import datetime
import functools
import itertools
import json
import operator
import os
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from itertools import islice, repeat, starmap
from typing import Any

import pyarrow as pa

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

#: What a thread that calls user code works on.
here = threading.local()


class WrongResult(TypeError):
    """What a function returned is not what it says."""

    def __init__(self, text: str, condition: str = "WRONG_RESULT_TYPE"):
        super().__init__(text)
        self.anyudf_condition = condition


class Refused(Exception):
    """Why a payload is no function: whose fault that is, the name of what happened, and words."""

    def __init__(self, kind: str, condition: str, text: str):
        super().__init__(text)
        self.anyudf_kind, self.anyudf_condition = kind, condition


def told_of(error: BaseException, hint: str) -> None:
    """Has a hint told behind an exception's own words."""
    try:
        error.anyudf_hint = hint  # type: ignore[attr-defined]
    except AttributeError:
        pass


def announce(told: dict[str, Any]) -> None:
    """Puts what the engine said where `anyudf.invocation()` finds it, and names the execution for what is printed."""
    here.invocation = types.SimpleNamespace(**told)
    if not hasattr(here, "label"):
        name = told.get("name")
        here.label = f"/{next(_executions)}{f' {name}' if name else ''}"


_executions = itertools.count(1)

#: What prints the lines that a thread has begun, in a worker.
flush_lines: Callable[[], None] | None = None


def leave() -> None:
    """A thread that called user code ends."""
    if flush_lines is not None:
        flush_lines()


# ---- rows


def each(function: Callable[..., Any], columns: list[list[Any]], rows: int) -> list[Any]:
    """Calls the function for each row. An exception is told which row it was."""
    iterators = [iter(column) for column in columns]
    # The loop is the interpreter's own, in C: nothing runs between two calls.
    calls = map(function, *iterators) if iterators else starmap(function, repeat((), rows))
    try:
        return _all_of(calls, rows)
    except BaseException as error:
        if iterators and not hasattr(error, "anyudf_row"):
            _at_row(error, rows - operator.length_hint(iterators[0]) - 1)
        raise


def _all_of(calls: Iterator[Any], rows: int) -> list[Any]:
    results = list(calls)
    # To such a loop the exception is its end; where it came from is not to be known any more.
    if len(results) != rows:
        error = WrongResult("it raised StopIteration: give `next` a default, or catch it", "StopIteration")
        _at_row(error, len(results))
        raise error
    return results


def _at_row(error: BaseException, row: int) -> None:
    try:
        error.anyudf_row = row  # type: ignore[attr-defined]
    except AttributeError:
        pass


def each_apart(
    function: Callable[..., Any], columns: list[list[Any]], rows: int, unread: dict[int, Exception]
) -> tuple[list[Any], list[str | None]]:
    """Calls the function for each row that can be read; a row that fails has no value, and its error in words."""
    values: list[Any] = []
    errors: list[str | None] = [None] * rows
    for row, error in unread.items():
        errors[row] = _words(error)
    append = values.append
    for arguments in zip(*columns) if columns else repeat((), rows):
        if unread and len(values) in unread:
            append(None)
            continue
        try:
            append(function(*arguments))
        except Exception as error:
            errors[len(values)] = _words(error)
            append(None)
    return values, errors


def converted(convert: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    """All values, converted."""
    return _all_of(map(convert, values), len(values))


def array(values: Any, kind: pa.DataType, write: Callable[[Any], Any] | None = None) -> pa.Array:
    """Values that a function returned for rows as an array of the type that it says."""
    try:
        return _array(values, kind, write)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        for row, value in enumerate(values):
            try:
                _array([value], kind, write)
            except Exception as wrong:
                error = WrongResult(f"it returned {_short(value)}, and its result is {kind}: {wrong}")
                _at_row(error, row)
                raise error from None
        raise


def texts(values: list[str | None]) -> pa.Array:
    """The errors of rows."""
    return pa.array(values, type=pa.string())


def _array(values: list[Any], kind: pa.DataType, write: Callable[[Any], Any] | None) -> pa.Array:
    if write is not None:
        values = converted(write, values)
    check = _check(kind)
    if check is not None:
        for value in values:
            if value is not None:
                check(value)
    return pa.array(values, type=kind)


@functools.lru_cache(maxsize=256)
def _check(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What refuses values that pyarrow makes others of: 2 of 2.5, and another time of one with or without a zone."""
    types = pa.types
    if types.is_integer(kind):
        return operator.index
    if types.is_timestamp(kind):
        return functools.partial(_check_zone, kind.tz)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = _check(kind.value_type)
        return item and functools.partial(_check_items, item)
    if types.is_map(kind):
        return functools.partial(_check_pairs, _check(kind.key_type), _check(kind.item_type))
    if types.is_struct(kind):
        fields = {field.name: _check(field.type) for field in kind}
        return functools.partial(_check_fields, fields)
    return None


def _check_zone(zone: str | None, value: Any) -> None:
    if isinstance(value, datetime.datetime) and (value.tzinfo is None) != (zone is None):
        has, wants = ("no time zone", f"that of {zone}") if zone else ("a time zone", "none")
        raise TypeError(f"{value!r} has {has}, and the type has {wants}")


def _check_items(item: Callable[[Any], Any], values: Any) -> None:
    for value in values:
        if value is not None:
            item(value)


def _check_pairs(key: Callable[[Any], Any] | None, item: Callable[[Any], Any] | None, pairs: Any) -> None:
    for one, other in pairs:
        if key is not None and one is not None:
            key(one)
        if item is not None and other is not None:
            item(other)


def _check_fields(fields: dict[str, Callable[[Any], Any] | None], value: Any) -> None:
    if not isinstance(value, dict):
        return
    unknown = value.keys() - fields.keys()
    if unknown:
        raise TypeError(f"there is no field `{min(unknown)}`; there are {', '.join(fields)}")
    for name, check in fields.items():
        if check is not None and value.get(name) is not None:
            check(value[name])


def apart(values: list[Any], errors: list[str | None], kind: pa.DataType, write: Callable[[Any], Any] | None) -> pa.Array:
    """The same, where a value that is not of the type is that row's error."""
    try:
        return _array(values, kind, write)
    except Exception:
        pass
    for row, value in enumerate(values):
        try:
            _array([value], kind, write)
        except Exception as error:
            values[row] = None
            errors[row] = errors[row] or f"it returned {_short(value)}, and its result is {kind}: {error}"
    return _array(values, kind, write)


def whole(result: Any, kind: pa.DataType) -> Any:
    """What a function of whole arrays returned as something that Arrow's C interface can carry."""
    if isinstance(result, pa.ChunkedArray):
        return result.combine_chunks() if result.num_chunks != 1 else result.chunk(0)
    if hasattr(result, "__arrow_c_array__"):
        return result
    if hasattr(result, "to_arrow"):
        return whole(result.to_arrow(), kind)
    if hasattr(result, "__arrow_c_stream__"):
        return pa.chunked_array(result).combine_chunks()
    if isinstance(result, pa.Scalar) or result is None or isinstance(result, str | bytes | int | float):
        raise WrongResult(f"it returned {_short(result)} and not an array; a function over rows needs no kind=")
    try:
        return pa.array(result, type=kind)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise WrongResult(f"it returned {type(result).__qualname__}, which is no array of {kind}: {error}") from None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = "something"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__qualname__})"


# ---- batches


def batches(result: Any, schema: pa.Schema) -> Iterator[Any]:
    """What a map yields."""
    if hasattr(result, "__arrow_c_array__") or hasattr(result, "__arrow_c_stream__"):
        raise WrongResult("a map function yields batches; it returned one. Write `yield`")
    try:
        return iter(result)
    except TypeError:
        raise WrongResult(f"a map function yields batches; it returned {_short(result)}") from None


#: A batch of rows is sent when it has so many of them, or when the first has waited for so long. That is looked at between two
#: takes, each of which is as many rows as came in a few milliseconds before.
_ROWS, _SECONDS = 8192, 0.05


def table(result: Any, schema: pa.Schema) -> Iterator[Any]:
    """What a table function yields, rows gathered into batches."""
    if hasattr(result, "__arrow_c_array__") or hasattr(result, "__arrow_c_stream__"):
        yield result
        return
    try:
        items = iter(result)
    except TypeError:
        raise WrongResult(f"a table function yields rows or batches; it returned {_short(result)}") from None
    rows: list[Any] = []
    take, until, clock = 1, 0.0, time.monotonic
    try:
        while True:
            began = clock()
            taken = list(islice(items, take))
            if len(taken) == 0:
                break
            if hasattr(taken[-1], "__arrow_c_array__") or hasattr(taken[-1], "__arrow_c_stream__"):
                # Whoever yields batches yields nothing else.
                if rows:
                    yield batch_of(rows, schema)
                    rows = []
                take = 1
                yield from taken
                continue
            until = until or began + _SECONDS
            rows += taken
            now = clock()
            take = min(take * 2 if now - began < 0.005 else max(take // 2, 1), _ROWS)
            if len(rows) >= _ROWS or now >= until:
                yield batch_of(rows, schema)
                rows, until = [], 0.0
        if rows:
            yield batch_of(rows, schema)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def batch_of(rows: list[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as a batch: mappings, tuples, dataclasses, or values where there is one column."""
    names, first = schema.names, rows[0]
    try:
        if isinstance(first, dict):
            columns = [[row.get(name) for row in rows] for name in names]
            unknown = set(first) - set(names)
            if unknown:
                raise WrongResult(f"a row has the column `{sorted(unknown)[0]}`, and there are {', '.join(names)}")
        elif hasattr(first, "__dataclass_fields__"):
            columns = [list(map(operator.attrgetter(name), rows)) for name in names]
        elif isinstance(first, tuple if len(names) == 1 and schema.field(0).type.num_fields else tuple | list) and (
            len(names) > 1 or len(first) == 1
        ):
            if any(len(row) != len(names) for row in rows):
                raise WrongResult(f"a row has {len(first)} values, and there are {len(names)} columns")
            columns = [list(column) for column in zip(*rows)]
        elif len(names) == 1:
            columns = [rows]
        else:
            raise WrongResult(f"a row is {_short(first)}, and there are {len(names)} columns; yield tuples")
    except (TypeError, AttributeError) as error:
        if isinstance(error, WrongResult):
            raise
        raise WrongResult(f"a row is not like {_short(first)}: {error}") from None
    arrays = [array(column, field.type) for column, field in zip(columns, schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


# ---- aggregates


def begin(make: Callable[..., Any], states: list[Any]) -> Any:
    """A state, from what is left of others."""
    state = make()
    for other in states:
        state.merge(_state_of(make, other))
    return state


def _state_of(make: Callable[..., Any], told: Any) -> Any:
    cls: Any = make.func if isinstance(make, functools.partial) else make
    if hasattr(cls, "from_state"):
        return cls.from_state(told)
    state = cls.__new__(cls)
    vars(state).update(told)
    return state


def state(aggregate: Any) -> bytes:
    """What is left of a state, as JSON."""
    told = aggregate.state() if hasattr(aggregate, "state") else vars(aggregate)
    instead = "Give it `state(self)` and a class method `from_state(cls, state)`"
    try:
        text = json.dumps(told, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WrongResult(f"the state is no JSON: {error}. {instead}", "AGGREGATE_STATE") from None
    # Keys that are numbers become texts, and tuples lists.
    if json.loads(text) != told:
        raise WrongResult(f"the state is another one when it comes back from JSON. {instead}", "AGGREGATE_STATE")
    return text.encode()


# ---- exceptions


def describe(error: BaseException) -> tuple[str, str, str, str, int | None]:
    """Whose fault an exception is, its class, its words, where it happened, and in which row."""
    row = getattr(error, "anyudf_row", None)
    condition = getattr(error, "anyudf_condition", None)
    kind = getattr(error, "anyudf_kind", "user")
    hint = getattr(error, "anyudf_hint", None)
    told = f"; {hint}" if hint else ""
    if condition is not None:
        return kind, condition, _utf8(str(error)) + told, "", row
    cls = type(error)
    module = cls.__module__
    name = cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"
    where = error.__traceback__
    while where is not None and where.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        where = where.tb_next
    text = "".join(traceback.format_exception(cls, error, where))
    return kind, name, _words(error) + told, _utf8(text), row


def _words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"called sys.exit({'' if error.code is None else repr(error.code)})"
    try:
        text = str(error)
    except Exception as wrong:
        text = f"(its text can't be told: {type(wrong).__qualname__})"
    return _utf8(text) or type(error).__qualname__


def _utf8(text: str) -> str:
    """A text that can be sent: names of files may have what is no character."""
    return text.encode("utf-8", "backslashreplace").decode()


# ---- tests


def test(function: Any, columns: tuple[Any, ...]) -> Any:
    """What `Function.test` does."""
    from anyudf import _native

    if function.kind in ("scalar", "batch"):
        count = len(columns[0]) if columns else 1
        schema = function.arguments
        arrays = []
        for place, column in enumerate(columns):
            kind = schema.field(min(place, len(schema) - 1)).type if len(schema) else None
            arrays.append(column if isinstance(column, pa.Array) else pa.array(column, type=kind))
        fields = [pa.field(f"c{place}", array.type) for place, array in enumerate(arrays)]
        if arrays:
            given = [pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))]
        else:
            given = [pa.record_batch([pa.nulls(count)], names=["none"]).select([])]
        tested = _native.test(function, given)
        results = [batch.column(0) for batch in tested.to_batches()]
        return pa.concat_arrays(results) if results else pa.array([], type=tested.schema.field(0).type)
    given = []
    for table in columns:
        if isinstance(table, dict):
            table = pa.table(table)
        given += [table] if isinstance(table, pa.RecordBatch) else pa.table(table).to_batches()
    return _native.test(function, given)
