"""Options and states cross as they are, or are refused here."""

import json
import sys

import pytest

import anyudf

MODULE = """
import anyudf

@anyudf.udf(kind="table", returns={"text": "string"})
def said(**options):
    yield (repr(options),)

@anyudf.udf(kind="aggregate")
class product:
    def __init__(self):
        self.product = 1

    def update(self, factor: int):
        self.product *= factor

    def merge(self, other):
        self.product *= other.product

    def finish(self) -> str:
        return str(self.product)

anyudf.serve()
"""


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory):
    module = tmp_path_factory.mktemp("module") / "functions.py"
    module.write_text(MODULE)
    with anyudf.Dispatcher([sys.executable, str(module)]) as dispatcher:
        yield dispatcher


@pytest.mark.parametrize("value", [2**70, -(2**64), 0.1 + 0.2, 1e300, [1, {"a": [None, True]}], "😀é", {}])
def test_options_cross_to_the_last_digit(dispatcher, value):
    said = anyudf.run("said", options={"value": value}, worker=dispatcher)
    assert said["text"].to_pylist() == [repr({"value": value})]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), [float("inf")], object(), {1, 2}])
def test_what_json_does_not_have_is_refused(dispatcher, value):
    with pytest.raises(anyudf.MisuseError, match="the options of said are no JSON") as raised:
        anyudf.run("said", options={"value": value}, worker=dispatcher)
    assert raised.value.condition == "INVALID_OPTIONS"


def test_states_cross_to_the_last_digit(dispatcher):
    def part(factors):
        with dispatcher.session("product", options={"partial": True}) as session:
            assert list(session.process({"factor": factors})) == []
            return json.loads(session.data)

    states = [part([3] * 50), part([7] * 50)]
    whole = anyudf.run("product", {"factor": [2]}, options={"states": states}, worker=dispatcher)
    assert whole["product"].to_pylist() == [str(2 * 21**50)]
