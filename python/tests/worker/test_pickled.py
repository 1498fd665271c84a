"""The payload format `python/cloudpickle`, and the worker that takes it, `python -m anyudf.worker`."""

import binascii
import copy
import json
import pickle
import subprocess
import sys

import cloudpickle
import pyarrow as pa
import pytest

import anyudf
from anyudf._calls import Refused, describe
from anyudf.worker import load

from .conftest import PATIENCE, program


@anyudf.udf
def double(x: int) -> int:
    return 2 * x


def test_a_payload_is_a_line_and_a_pickle():
    header, _, pickled = double.payload().partition(b"\n")
    assert json.loads(header) == {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "anyudf": anyudf.__version__,
    }
    assert cloudpickle.loads(pickled)(4) == 8
    assert load(double.payload()).test([3]).to_pylist() == [6]


def refused(payload):
    with pytest.raises(Refused) as error:
        load(payload)
    return error.value.anyudf_kind, error.value.anyudf_condition, str(error.value)


@pytest.mark.parametrize("payload", [b"", b"\n", b"{}\n", b"not json\n..", b'{"python": "3.11"}', b"[1]\nx", b"\x80\x05."])
def test_r18_what_is_no_payload_is_the_engines_fault(payload):
    kind, condition, text = refused(payload)
    assert (kind, condition) == ("protocol", "INVALID_PAYLOAD")
    assert "the payload is no line of JSON" in text


def test_r18_a_pickle_of_something_else():
    header = double.payload().partition(b"\n")[0]
    assert refused(header + b"\n" + cloudpickle.dumps(42))[:2] == ("protocol", "INVALID_PAYLOAD")


def test_another_python():
    pickled = double.payload().partition(b"\n")[2]
    kind, condition, text = refused(b'{"python": "3.99", "anyudf": "0.1.0"}\n' + pickled)
    assert (kind, condition) == ("user", "PYTHON_VERSION")
    assert "made by Python 3.99" in text and sys.executable in text


def test_a_module_that_is_missing_here():
    header = double.payload().partition(b"\n")[0]
    kind, condition, text = refused(header + b"\ncno_such_module\nf\n.")
    assert (kind, condition) == ("user", "MODULE_NOT_FOUND")
    assert "`no_such_module`" in text and sys.executable in text


def sent_by(version, pickled):
    header = json.loads(double.payload().partition(b"\n")[0])
    return json.dumps({**header, "anyudf": version}).encode() + b"\n" + pickled


def test_another_anyudf_is_no_matter_where_it_does_not_matter():
    pickled = double.payload().partition(b"\n")[2]
    assert load(sent_by("0.0.1", pickled)).test([3]).to_pylist() == [6]


def without_timeout():
    function = copy.copy(double)
    del function.timeout
    return cloudpickle.dumps(function)


@pytest.mark.parametrize(
    "pickled, condition, words",
    [
        (b"cno_such_module\nf\n.", "MODULE_NOT_FOUND", "`no_such_module`"),
        (b"canyudf.functions\nno_such_name\n.", "AttributeError", "no_such_name"),
        (without_timeout(), "INVALID_PAYLOAD", "lacks `timeout`"),
        (b"\x80", "_pickle.UnpicklingError", "truncated"),
    ],
)
def test_what_fails_with_another_anyudf_tells_both_versions(pickled, condition, words):
    hint = f"; anyudf 99.0 has sent the function, and this worker has {anyudf.__version__}: install the same for both"
    for version, told in ((anyudf.__version__, ""), ("99.0", hint)):
        with pytest.raises(Exception) as raised:
            load(sent_by(version, pickled))
        _, found, text, _, _ = describe(raised.value)
        assert found == condition and words in text
        assert text.endswith(told) and ("99.0" in text) == bool(told)


def test_the_caller_is_told_of_both_versions():
    with (
        anyudf.Dispatcher(anyudf.python_worker()) as dispatcher,
        pytest.raises(anyudf.Error, match=r"anyudf 99\.0 has sent"),
    ):
        dispatcher.session(
            anyudf.Payload("python/cloudpickle", sent_by("99.0", without_timeout())),
            input_schema=pa.schema({"x": pa.int64()}),
        )


def kit(tmp_path, functions: dict[str, dict], *patterns: str) -> str:
    """Plays cases to the worker, with these as the functions they need."""
    lines = ["[functions]"]
    for name, function in functions.items():
        pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in function.items())
        lines.append(f"{name} = {{ {pairs} }}")
    (tmp_path / "capabilities.toml").write_text("\n".join(lines))
    command = [program(), "conformance", "--capabilities", str(tmp_path / "capabilities.toml"), "--start-timeout", "30s"]
    for pattern in patterns:
        command += ["--run", pattern]
    done = subprocess.run(
        [*command, "--", sys.executable, "-m", "anyudf.worker"], capture_output=True, text=True, timeout=4 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Reduced:
    """What a pickle makes by calling this."""

    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what


def ascii_payload(function) -> str:
    """A payload that a text can carry."""
    header, _, pickled = function.payload().partition(b"\n")
    within = Reduced(pickle.loads, (Reduced(binascii.unhexlify, (pickled.hex(),)),))
    return (header + b"\n" + pickle.dumps(within, protocol=0)).decode("ascii")


def test_c9_c10_the_kits_batches_go_through_a_function_in_a_payload(tmp_path):
    same = anyudf.udf(lambda batches: batches, kind="map", name="same")
    told = kit(tmp_path, {"batches": {"format": "python/cloudpickle", "payload": ascii_payload(same)}}, "arrow/*")
    assert "0 fail" in told and "arrow/batches" in told, told


def test_r4_the_kits_init_error_is_a_payload_that_is_none(tmp_path):
    function = {"format": "python/cloudpickle", "payload": "no payload"}
    kit(tmp_path, {"init-error": function}, "execute/init/*")
