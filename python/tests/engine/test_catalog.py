"""What a worker offers."""

import pyarrow as pa

import anyudf


def test_the_functions_are_found_by_name(dispatcher):
    catalog = dispatcher.catalog()
    assert "function" in catalog.formats
    assert len(catalog) == len(catalog.functions)
    miles = catalog["distance_miles"]
    assert miles.kind == "scalar"
    assert miles.arguments.names == ["lat1", "lon1", "lat2", "lon2"]
    assert miles.result.types == [pa.float64()]
    assert miles.help and miles.volatility == "immutable" and miles.repeatable
    assert catalog["echo_batches"].arguments is None
    assert "distance_miles(lat1: double" in repr(miles)
    assert catalog.get("none") is None


def test_a_signature_is_told_for_types():
    schema = pa.schema({"x": pa.float64()})
    entry = anyudf.FunctionInfo("abs", "scalar", schema, schema, overloads=[(pa.schema({"x": pa.int32()}),) * 2])
    assert entry.signature_for([pa.int32()])[1].types == [pa.int32()]
    assert entry.signature_for([pa.int16()])[1].types == [pa.float64()]
    assert entry.arguments_for(1) == schema
    text = pa.schema({"x": pa.string()})
    mixed = anyudf.FunctionInfo("f", "scalar", text, text, overloads=[(schema, schema)])
    assert mixed.signature_for([pa.int16()]) == (schema, schema), "text is no number, and a session sends a double"
    assert entry.arguments_for(2) is None


def test_python_functions_tell_the_same(python):
    @anyudf.udf(volatility="immutable", aliases=["double"])
    def doubled(x: int) -> int:
        "Twice as much."
        return 2 * x

    with python.session(doubled) as session:
        assert session.process({"x": [1, 2]}).read_all()["doubled"].to_pylist() == [2, 4]
        info = session.function
    assert (info.kind, info.aliases, info.help) == ("scalar", ["double"], "Twice as much.")
    # The generic worker has no functions, until one comes.
    assert len(python.catalog() or ()) == 0
