"""What `@anyudf.udf` makes, and what it refuses."""

import functools
import threading
from typing import Annotated

import pyarrow as pa
import pytest

import anyudf
from anyudf import Function, hints, udf


def test_a_function_is_what_it_was():
    @udf(aliases=["f"], volatility="immutable", repeatable=True, timeout="500ms", version="2", examples=["text"])
    def fahrenheit(celsius: float) -> float:
        """Degrees Celsius in
        degrees Fahrenheit.

        More about it.
        """
        return celsius * 1.8 + 32

    assert isinstance(fahrenheit, Function)
    assert fahrenheit(100.0) == 212.0
    assert (fahrenheit.name, fahrenheit.kind, fahrenheit.aliases) == ("fahrenheit", "scalar", ("f",))
    assert (fahrenheit.volatility, fahrenheit.repeatable, fahrenheit.timeout) == ("immutable", True, 0.5)
    assert (fahrenheit.version, fahrenheit.help) == ("2", "Degrees Celsius in degrees Fahrenheit.")
    assert fahrenheit.arguments.names == ["celsius"]
    assert fahrenheit.result == pa.schema([("fahrenheit", pa.float64())])
    assert fahrenheit.__doc__.startswith("Degrees") and fahrenheit.__name__ == "fahrenheit"
    assert "celsius: double" in repr(fahrenheit)


def test_lambdas_and_others_that_can_be_called():
    assert udf(lambda x: x + 1, arguments={"x": "int64"}, returns="int64").test([1]).to_pylist() == [2]
    assert udf(lambda x: x + 1, arguments=["int64"], returns=int, name="next").name == "next"

    class Times:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x: int) -> int:
            return x * self.factor

    times = udf(Times(3), arguments=[int], returns=int)
    assert (times.name, times.test([2]).to_pylist()) == ("Times", [6])
    assert udf(functools.partial(pow, 2), arguments={"exp": int}, returns=int, name="p")(3) == 8


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: udf(lambda x: x), "which type argument `x` has is not said"),
        (lambda: udf(lambda: 1), "which type its result has is not said"),
        (lambda: udf(lambda x: x, kind="rows"), "kind is 'rows', it must be one of scalar"),
        (lambda: udf(lambda x: x, arguments=[int], returns=int, on_error="skip"), "on_error is 'skip'"),
        (lambda: udf(lambda x: x, kind="batch", arguments=[int], returns=int, on_error="null"), "on_error is about rows"),
        (lambda: udf(lambda x: x, arguments=[int, int], returns=int), "has 2 types, and the function takes 1"),
        (lambda: udf(lambda x: x, arguments={"y": int, "z": int}, returns=int), "names `y`"),
        (lambda: udf(lambda: [], kind="table"), "which columns it gives is not said"),
        (lambda: udf(lambda a, b: a, kind="map"), "takes one argument, an iterator"),
        (lambda: udf(lambda: 1, kind="aggregate"), "an aggregate is a class"),
        (lambda: udf(dict, kind="aggregate"), "it lacks merge, finish"),
        (lambda: udf(lambda x: x, arguments=[int], returns=int, timeout="soon"), "timeout is 'soon'"),
        (lambda: udf(lambda x: x, arguments=[int], returns=int, timeout=0), "more than nothing"),
        (lambda: udf(3), "not of 3"),
        (lambda: udf(udf(lambda x: x, arguments=[int], returns=int)), "is a Function already"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(TypeError) as error:
        make()
    assert words in str(error.value)


def test_options_are_arguments_that_are_named():
    @udf
    def rounded(x: float, *, digits: int = 0) -> float:
        return round(x, digits)

    assert rounded.with_options(digits=2).test([3.14159]).to_pylist() == [3.14]
    assert rounded.test([3.7]).to_pylist() == [4.0]
    assert rounded.options == {}
    with pytest.raises(TypeError, match="no option `digit`; there are digits"):
        rounded.with_options(digit=1)


def test_examples_are_tests():
    @udf(examples=[((2, 3), 5), ((1, 1), 3)])
    def add(a: int, b: int) -> int:
        return a + b

    assert add._entry()["examples"] == ["add(2, 3) = 5", "add(1, 1) = 3"]
    with pytest.raises(AssertionError, match=r"add\(1, 1\) = 2, not 3"):
        add.check_examples()


def test_a_payload_has_the_function_in_it():
    from anyudf.worker import load

    factor = 3

    @udf
    def times(x: int, *, plus: int = 0) -> int:
        return x * factor + plus

    again = load(times.with_options(plus=1).payload())
    assert again(2) == 7
    assert again.test([1, None]).to_pylist() == [4, None]


def test_none_as_a_default_is_a_value():
    @udf
    def or_seven(a: int, b: int = None) -> int:  # noqa: RUF013  people write it
        return a + (7 if b is None else b)

    assert or_seven.arguments.field("b").type == pa.int64()
    assert or_seven.test([1, None, 1], [2, 2, None]).to_pylist() == [3, None, 8]

    @udf(arguments=["int64", "int64"], returns="int64")
    def or_nine(a, b=None):
        return a + (9 if b is None else b)

    assert or_nine.test([1, None, 1], [2, 2, None]).to_pylist() == [3, None, 10]


def test_what_can_not_be_sent_is_named():
    lock = threading.Lock()
    guarded = udf(lambda x: (lock, x)[1], arguments=[int], returns=int, name="guarded")
    with pytest.raises(TypeError) as error:
        guarded.payload()
    assert "`guarded` can't be sent to a worker, because of `lock`" in str(error.value)


def test_an_invocation_is_for_functions():
    with pytest.raises(RuntimeError, match="while a worker calls them"):
        anyudf.invocation()
    assert udf(lambda x: anyudf.invocation().name, arguments=[int], returns=str, name="n").test([1]).to_pylist() == ["n"]


def test_annotated_types():
    @udf
    def narrow(x: Annotated[int, "int16"]) -> Annotated[int, "int8"]:
        return x

    assert narrow.arguments.field(0).type == pa.int16()
    assert narrow.test([7]).type == pa.int8()
    assert hints.type_of(narrow.result.field(0).type) == pa.int8()
