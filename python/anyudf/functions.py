"""Functions for workers: what `@anyudf.udf` makes of an ordinary one.

>>> import anyudf
>>> @anyudf.udf
... def fahrenheit(celsius: float) -> float:
...     "Degrees Celsius in degrees Fahrenheit."
...     return celsius * 1.8 + 32.0
>>> fahrenheit(100.0)
212.0
>>> fahrenheit.test([100.0, None]).to_pylist()
[212.0, None]
"""

import copy
import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, get_args, overload

import pyarrow as pa

from anyudf import signatures
from anyudf._native import Cancelled as Cancelled

__all__ = ["Cancelled", "Function", "invocation", "udf"]

Kind = Literal["scalar", "batch", "table", "map", "aggregate"]
Nulls = Literal["null", "values"]
OnError = Literal["fail", "null", "collect"]
Volatility = Literal["immutable", "stable", "volatile"]


class Function:
    """A function that a worker can serve, and that can be sent to one. Made by `anyudf.udf`, which says what can be said.

    It is called as the function that it was made of:

    >>> @udf(volatility="immutable")
    ... def characters(text: str) -> int:
    ...     return len(text)
    >>> characters("Zürich"), characters.name, characters.result.field(0).type
    (6, 'characters', DataType(int64))
    """

    name: str
    kind: Kind
    #: The columns it takes; None when it takes any.
    arguments: pa.Schema | None
    #: The columns of its result; None when these follow from the input.
    result: pa.Schema | None
    nulls: Nulls
    on_error: OnError
    aliases: tuple[str, ...]
    volatility: Volatility
    repeatable: bool
    #: In seconds.
    timeout: float | None
    version: str
    help: str
    examples: tuple[Any, ...]
    #: What it is called with beside its columns.
    options: dict[str, Any]

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        kind: Kind = "scalar",
        name: str | None = None,
        arguments: Any = None,
        returns: Any = None,
        nulls: Nulls = "null",
        on_error: OnError = "fail",
        aliases: Iterable[str] = (),
        volatility: Volatility = "volatile",
        repeatable: bool = False,
        timeout: float | str | None = None,
        version: str | None = None,
        help: str | None = None,
        examples: Iterable[Any] = (),
    ):
        if isinstance(function, Function):
            raise TypeError(f"`{function.name}` is a Function already")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"`{_name_of(function)}` is async; a worker calls functions, and awaits nothing")
        if not callable(function):
            raise TypeError(f"udf makes a function for a worker of a function or a class, not of {function!r}")
        _one_of("kind", kind, Kind)
        _one_of("nulls", nulls, Nulls)
        _one_of("on_error", on_error, OnError)
        _one_of("volatility", volatility, Volatility)
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self.kind, self.nulls, self.on_error = kind, nulls, on_error
        self.name = name if name is not None else _name_of(function)
        if on_error != "fail" and kind != "scalar":
            raise TypeError(f"`{self.name}`: on_error is about rows, and {kind} functions are not called for each row")
        self.aliases, self.volatility = tuple(aliases), volatility
        self.repeatable, self.timeout = bool(repeatable), _seconds(timeout)
        self.version = version if version is not None else _version_of(function)
        self.help = help if help is not None else _first_paragraph(function)
        self.examples = tuple(examples)
        self.options = {}
        try:
            read = signatures.read(function, self.name, kind, nulls, on_error, arguments, returns)
        except TypeError as error:
            raise TypeError(f"`{self.name}`: {error}") from error.__cause__
        self.arguments, self.result, self._option_names = read.arguments, read.result, read.options
        # The native half asks for these by their names.
        self._readers, self._takes_null = list(read.readers), list(read.takes_null)
        self._writer, self._value_type = read.writer, read.value_type

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function(*arguments, **{**self.options, **options})

    def __repr__(self) -> str:
        takes = "any columns" if self.arguments is None else ", ".join(f"{f.name}: {f.type}" for f in self.arguments)
        return f"<anyudf.Function {self.name}({takes}), {self.kind}>"

    def with_options(self, **options: Any) -> "Function":
        """The same, called with these options: arguments that can only be named.

        >>> @udf
        ... def rounded(x: float, *, digits: int = 0) -> float:
        ...     return round(x, digits)
        >>> rounded.with_options(digits=1).test([3.14159]).to_pylist()
        [3.1]
        """
        self._check_options(options)
        other = copy.copy(self)
        other.options = {**self.options, **options}
        return other

    def payload(self) -> bytes:
        """The function itself, with its options, as a payload of the format `python/cloudpickle`.

        Raises:
            TypeError: something that it uses can't be sent to another process.
        """
        from anyudf import pickled

        return pickled.dumps(self)

    def test(self, *columns: Any) -> Any:
        """Calls it as a worker does, in this process: batches are encoded and decoded, nulls and errors handled as for an
        engine.

        A scalar or batch function is given columns, as arrays or lists, and returns an array. Others are given one
        table, batch, or mapping of columns, or nothing if they have no input, and return a table.

        Raises:
            RuntimeError: the function failed; the text is what an engine is told.
        """
        from anyudf import _calls

        return _calls.test(self, columns)

    def check_examples(self) -> None:
        """Calls it for each of its examples.

        Raises:
            AssertionError: one gives something else.
        """
        for example in self.examples:
            if not isinstance(example, str):
                arguments, expected = example
                got = self(*arguments)
                assert got == expected, f"{_example(self.name, (arguments, got))}, not {expected!r}"

    # ---- what a worker asks

    def _entry(self) -> dict[str, Any]:
        """What the catalogue says of it."""
        return {
            "name": self.name,
            "kind": "scalar" if self.kind == "batch" else self.kind,
            "arguments": self.arguments,
            "result": self.result,
            "aliases": list(self.aliases),
            "volatility": self.volatility,
            "repeatable": self.repeatable,
            "timeout": self.timeout,
            "help": self.help,
            "examples": [_example(self.name, example) for example in self.examples],
            "version": self.version,
        }

    def _bound(self, options: Mapping[str, Any] | None) -> Callable[..., Any]:
        """What is called, when the call has these options."""
        if options is not None and not isinstance(options, Mapping):
            raise BadOptions(f"the options of `{self.name}` are a {type(options).__name__}, they must be an object")
        options = {**self.options, **(options or {})}
        if self.kind == "aggregate":
            # These two are every aggregate's, and the worker's affair.
            options = {name: value for name, value in options.items() if name not in ("partial", "states")}
        if not options:
            self._check_options({})
            return self._function
        self._check_options(options)
        return functools.partial(self._function, **options)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        known = self._option_names
        if known is not None:
            for option in options:
                if option not in known:
                    there = f"there are {', '.join(known)}" if known else "it has none"
                    raise BadOptions(f"`{self.name}` has no option `{option}`; {there}")


P = ParamSpec("P")


class _Udf(Protocol[P]):
    """What checkers know of `udf`: its keywords are those of `Function`."""

    @overload
    def __call__(self, function: Callable[..., Any], /, *args: P.args, **said: P.kwargs) -> Function: ...
    @overload
    def __call__(
        self, function: None = None, /, *args: P.args, **said: P.kwargs
    ) -> Callable[[Callable[..., Any]], Function]: ...


def _with_keywords_of(made: Callable[Concatenate[Callable[..., Any], P], Function]) -> Callable[[Any], _Udf[P]]:
    """Says the keywords once: what checkers see is in the types, what `help` shows in the signature."""

    def told(udf: Any) -> Any:
        (function, *keywords) = inspect.signature(made).parameters.values()
        first = function.replace(kind=inspect.Parameter.POSITIONAL_ONLY, default=None)
        udf.__signature__ = inspect.Signature([first, *keywords])
        return udf

    return told


@_with_keywords_of(Function)
def udf(function: Callable[..., Any] | None = None, /, **said: Any) -> Any:
    """Makes a function for a worker of an ordinary one, which can still be called.

    | kind | the function |
    |---|---|
    | `scalar` | is called for each row, with values of the types that its hints say |
    | `batch` | is called for each batch, with a `pyarrow.Array` for each argument, and returns one |
    | `table` | has no input, and yields rows or batches; keyword arguments are its options |
    | `map` | takes an iterator of `pyarrow.RecordBatch` and yields batches |
    | `aggregate` | is a class with `update(self, …)` for each row, `merge(self, other)` and `finish(self)` |

    Arguments that can only be named, behind a `*`, are no columns but options of the call.

    Args:
        kind: see above.
        name: what callers call it; its own name without.
        arguments: the columns it takes, names and types, where hints do not say it. A `map` takes any without.
        returns: the type of its result; the columns of a `table` or a `map`, whose result has those of its input without.
        nulls: `"null"`, null in gives null out and the function is not asked, or `"values"`, it decides about them itself. In
            a function over rows an argument that is `Optional`, or None where it is left out, sees nulls, whatever is said
            here.
        on_error: what becomes of a row that fails in a function over rows. `"fail"` ends the execution and names the row;
            `"null"` makes the row null; `"collect"` makes of the result structs `{value, error}`.
        aliases: other names.
        volatility: what may be assumed of its results: `"immutable"`, `"stable"` or `"volatile"`.
        repeatable: whether an engine may run it again, from its beginning, when its worker has crashed.
        timeout: how long each call may take, a batch and not a row: seconds, or a text like `"500ms"`, `"30s"`, `"2m"`.
        version: its version.
        help: a line of help; the first paragraph of its docstring without.
        examples: calls and what they give, as pairs like `((100.0,), 212.0)`. `Function.check_examples` tries them, and
            the catalogue shows them.

    >>> @udf(kind="batch", returns="float64")
    ... def total(a: pa.DoubleArray, b: pa.DoubleArray):
    ...     import pyarrow.compute as pc
    ...     return pc.add(a, b)
    >>> total.test([1.0, 2.0], [3.0, None]).to_pylist()
    [4.0, None]
    """

    return partial(Function, **said) if function is None else Function(function, **said)


class BadOptions(TypeError):
    """Options that a function does not have."""

    anyudf_condition = "BAD_OPTIONS"


def invocation() -> Any:
    """What the engine said of the execution that this thread works on: `timezone`, `task_context`, `session_conf`,
    `options`, `parameters`, `input_schema`, `output_schema`, `name`, `eval_type`.

    Raises:
        RuntimeError: this thread works on none.
    """
    from anyudf import _calls

    found = getattr(_calls.here, "invocation", None)
    if found is None:
        raise RuntimeError("anyudf.invocation() is for functions while a worker calls them, on the thread that does")
    return found


# ---- helpers


def _one_of(what: str, given: str, of: Any) -> None:
    known = get_args(of)
    if given not in known:
        raise TypeError(f"{what} is {given!r}, it must be one of {', '.join(known)}")


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else name


def _version_of(function: Any) -> str:
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    version = getattr(module, "__version__", "")
    return version if isinstance(version, str) else ""


def _first_paragraph(function: Any) -> str:
    doc = function.__dict__.get("__doc__") if isinstance(function, type) else getattr(function, "__doc__", None)
    return " ".join(inspect.cleandoc(doc).split("\n\n")[0].split()) if doc else ""


def _seconds(timeout: float | str | None) -> float | None:
    if timeout is None:
        return None
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    text = str(timeout)
    for unit, factor in units.items():
        if text.endswith(unit) and text[: -len(unit)].strip().replace(".", "", 1).isdigit():
            seconds = float(text[: -len(unit)]) * factor
            break
    else:
        try:
            seconds = float(text)
        except ValueError:
            raise TypeError(f"timeout is {timeout!r}, it must be seconds, or a text like '500ms', '30s', '2m'") from None
    if not 0 < seconds < 1e9:
        raise TypeError(f"timeout is {timeout!r}, it must be more than nothing")
    return seconds


def _example(name: str, example: Any) -> str:
    if isinstance(example, str):
        return example
    arguments, result = example
    return f"{name}({', '.join(map(_literal, arguments))}) = {_literal(result)}"


def _literal(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
