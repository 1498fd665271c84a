"""Which columns become which arguments, and what is cast."""

import dataclasses
import datetime
import math

import pyarrow as pa
import pytest

import anyudf

polars = pytest.importorskip("polars")

PLACES = {"lat1": [40.6, None], "lon1": [-73.8, 0.0], "lat2": [34.0, 0.0], "lon2": [-118.4, 1.0]}


def miles(dispatcher, table, **said):
    return anyudf.run("distance_miles", table, worker=dispatcher, **said)["distance_miles"].to_pylist()


def test_all_columns_are_the_arguments_without_a_word(dispatcher):
    assert miles(dispatcher, PLACES) == [pytest.approx(2466.5, abs=0.1), None]


@pytest.mark.parametrize("args", [["d", "c", "b", "a"], [-1, 2, 1, "a"], (3, 2, 1, 0)])
def test_columns_are_named_or_counted(dispatcher, args):
    given = dict(zip("dcba", PLACES.values()))
    table = pa.table({name: given[name] for name in "abcd"})
    assert miles(dispatcher, table, args=args) == miles(dispatcher, PLACES)


def test_numbers_widen_as_in_sql(dispatcher):
    for given in (pa.int8(), pa.uint16(), pa.float32(), pa.decimal128(10, 2), pa.null()):
        values = [None if given == pa.null() else 1]
        table = pa.table({name: pa.array(values, given) for name in "abcd"})
        assert miles(dispatcher, table) == [None if given == pa.null() else pytest.approx(0.0, abs=1e-9)]


def test_a_struct_becomes_a_dataclass_by_the_names_of_its_fields(python):
    @dataclasses.dataclass
    class Place:
        name: str
        lat: float

    def shown(place: Place, before: list[Place]) -> str:
        return f"{place.name} at {place.lat}, after {[one.name for one in before]}"

    place = {"lat": 1, "name": "a long name, which polars keeps as a view"}
    frame = polars.DataFrame({"place": [place], "before": [[place, {"lat": 2, "name": "b"}]]})
    (text,) = anyudf.run(shown, frame, worker=python)["shown"].to_pylist()
    assert text == f"{place['name']} at 1.0, after {[place['name'], 'b']}"
    other = polars.DataFrame({"place": [{"latitude": 1, "name": "a"}], "before": [[]]})
    with pytest.raises(
        anyudf.MisuseError, match=r"column `place` is struct<latitude: int64, name: .* becomes? .* by itself"
    ):
        anyudf.run(shown, other, worker=python)


def test_what_does_not_fit_within_a_struct_names_row_and_field(python):
    @dataclasses.dataclass
    class Reading:
        at: int

    def ats(readings: list[Reading]) -> int:
        return sum(reading.at for reading in readings)

    big = pa.array([[{"at": 1}], [{"at": 2}, {"at": 2**64 - 1}]], pa.list_(pa.struct({"at": pa.uint64()})))
    words = r"column `r` can't become list<.*> for argument `readings` of `ats` in row 1: `\[1\].at`: 18446744073709551615"
    with pytest.raises(anyudf.MisuseError, match=words):
        anyudf.run(ats, {"r": big}, worker=python)


def test_times_of_pandas_are_those_of_python_where_they_are_whole(python):
    def year(at: datetime.datetime, after: datetime.timedelta) -> int:
        return (at + after).year

    at = pa.array([datetime.datetime(2024, 12, 31), None], pa.timestamp("ns"))
    after = pa.array([datetime.timedelta(days=1), None], pa.duration("ns"))
    assert anyudf.run(year, {"at": at, "after": after}, worker=python)["year"].to_pylist() == [2025, None]
    odd = pa.array([0, 1_500], pa.timestamp("ns"))
    words = r"`at` can't become timestamp\[us\] for argument `at` of `year` in row 1: .*00000150* is no whole number of microsec"
    with pytest.raises(anyudf.MisuseError, match=words):
        anyudf.run(year, {"at": odd, "after": after}, worker=python)


# Which older ones do not have.
STRING_VIEW = getattr(pa, "string_view", pa.string)()


@pytest.mark.parametrize("layout", [pa.string(), pa.large_string(), STRING_VIEW, "dictionary"])
def test_text_is_text_in_any_layout(dispatcher, layout):
    text = pa.array(["two words", None], pa.string() if layout == "dictionary" else layout)
    table = pa.table({"text": text.dictionary_encode() if layout == "dictionary" else text})
    assert anyudf.run("explode_words", table, worker=dispatcher)["word"].to_pylist() == ["two", "words"]


def test_polars_text_fits_what_takes_text(dispatcher):
    frame = polars.DataFrame({"other": [1], "text": ["two words"]})
    result = anyudf.run("explode_words", frame, args=["text"], worker=dispatcher)
    assert polars.from_arrow(result)["word"].to_list() == ["two", "words"]


def test_a_schema_of_its_own_is_that_of_the_input(dispatcher):
    schema = pa.schema({name: pa.int32() for name in "abcd"})
    with dispatcher.session("distance_miles", input_schema=schema) as session:
        assert session.input_schema.types == [pa.float64()] * 4
        assert session.output_schema.names == ["distance_miles"]
        batch = pa.record_batch({name: pa.array([1], pa.int32()) for name in "abcd"})
        session.send(batch)
        assert math.isclose(session.next()["distance_miles"][0].as_py(), 0.0, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("args", "condition", "words"),
    [
        (["lat1"], "WRONG_ARGUMENT_COUNT", r"takes 4 arguments \(lat1: .*given 1: `lat1`"),
        (["lat1", "lon1", "lat2", "lom2"], "NO_SUCH_COLUMN", "no column `lom2`; its columns are `lat1`, "),
        ([0, 1, 2, 9], "NO_SUCH_COLUMN", "no column 9: the input has 5 columns"),
        ([0, 1, 2, -6], "NO_SUCH_COLUMN", "no column -6"),
        (
            ["lat1", "lon1", "lat2", "name"],
            "WRONG_ARGUMENT_TYPE",
            "column `name` is string, argument `lon2` of function `distance_miles` is double",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(dispatcher, args, condition, words):
    table = {**PLACES, "name": ["a", "b"]}
    with pytest.raises(anyudf.MisuseError, match=words) as raised:
        miles(dispatcher, table, args=args)
    assert raised.value.condition == condition


def test_a_later_batch_may_be_laid_out_otherwise(dispatcher):
    batches = [{"text": ["a b"], "n": [1]}, {"n": [2], "text": ["c"]}]
    with dispatcher.session("explode_words", args=["text"]) as session:
        assert session.process(batches).read_all()["word"].to_pylist() == ["a", "b", "c"]
    table = pa.table({"text": pa.array(["d"], STRING_VIEW)})
    with dispatcher.session("explode_words") as session:
        assert session.process([{"text": ["a b"]}, table]).read_all().num_rows == 3


@pytest.mark.parametrize(
    ("later", "words"),
    [({"n": [1]}, "no column `text`"), ({"text": [1]}, "`text` of a later batch is int64, it was string in the first one")],
)
def test_a_later_batch_that_does_not_fit_is_the_callers_fault(dispatcher, later, words):
    with dispatcher.session("explode_words") as session, pytest.raises(anyudf.MisuseError, match=words):
        list(session.process([{"text": ["a b"]}, later]))


def test_a_value_that_does_not_fit_names_its_row(python):
    def bits(x: int) -> int:
        return x

    big = pa.array([1, 2**64 - 1], pa.uint64())
    with pytest.raises(anyudf.MisuseError, match="column `b` can't become int64 for argument `x` of `bits` in row 3"):
        anyudf.run(bits, [{"b": big[:1]}, {"b": big[:1]}, {"b": big}], worker=python)
