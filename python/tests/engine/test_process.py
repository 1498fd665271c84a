"""Batches in, batches out."""

import asyncio
import threading

import pyarrow as pa
import pytest

import anyudf

duckdb = pytest.importorskip("duckdb")
pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")


def echoed(dispatcher, batches) -> pa.Table:
    with dispatcher.session("echo_batches") as session:
        return session.process(batches).read_all()


@pytest.mark.parametrize(
    "made",
    [
        lambda table: table,
        lambda table: table.to_batches()[0],
        lambda table: table.to_reader(),
        lambda table: table.to_batches(),
        lambda table: iter([table.slice(0, 2), table.slice(2)]),
        lambda table: (batch for batch in table.to_batches(max_chunksize=1)),
        lambda table: table.to_pydict(),
        lambda table: [table.to_pydict()],
        polars.from_arrow,
        lambda table: [polars.from_arrow(table.slice(row, 1)) for row in range(3)],
        lambda table: duckdb.from_arrow(table),
        lambda table: pandas.DataFrame(table.to_pydict()).convert_dtypes(dtype_backend="pyarrow"),
        lambda table: pa.StructArray.from_arrays(
            [column.combine_chunks() for column in table.columns], names=table.column_names
        ),
    ],
)
def test_whatever_speaks_arrow_is_taken(dispatcher, numbers, made):
    assert echoed(dispatcher, made(numbers)).to_pydict() == numbers.to_pydict()


def test_the_index_of_a_pandas_frame_is_no_column(dispatcher):
    frame = pandas.DataFrame({"x": [1.5, 2.5]}, index=["a", "b"])
    assert echoed(dispatcher, frame).column_names == ["x"]


@pytest.mark.parametrize("batches", [3, "text", [3], [None], object(), polars.LazyFrame({"x": [1]})])
def test_what_is_no_table_is_refused_by_its_type(dispatcher, batches):
    with pytest.raises(anyudf.MisuseError, match="is no table") as raised:
        echoed(dispatcher, batches)
    assert raised.value.condition == "NO_TABLE"


def test_columns_of_nulls_are_taken_also_from_polars(dispatcher):
    frame = polars.DataFrame({"x": [None], "y": [1]})
    assert echoed(dispatcher, frame).to_pydict() == {"x": [None], "y": [1]}
    assert echoed(dispatcher, [frame, frame]).to_pydict() == {"x": [None, None], "y": [1, 1]}
    frame = polars.DataFrame({"lists": [[], None], "structs": [{"a": None}, {"a": None}], "words": ["a", "b" * 20]})
    assert echoed(dispatcher, frame).to_pydict() == frame.to_dict(as_series=False)
    assert echoed(dispatcher, frame[:0]).num_rows == 0


def test_a_stream_that_has_them_otherwise_is_told_so(dispatcher):
    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return polars.DataFrame({"x": [None]}).__arrow_c_stream__(requested_schema)

    with pytest.raises(anyudf.MisuseError, match=r"type null.*pyarrow\.table") as raised:
        echoed(dispatcher, Stream())
    assert raised.value.condition == "NO_TABLE"
    assert echoed(dispatcher, pa.table(Stream())).to_pydict() == {"x": [None]}


def test_an_iterator_without_a_schema_that_is_a_stream_is_read_as_one(dispatcher):
    class Stream:
        def __next__(self):
            raise AssertionError("nothing tells its schema")

        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"x": [1]}).__arrow_c_stream__(requested_schema)

    assert echoed(dispatcher, Stream()).to_pydict() == {"x": [1]}


def test_types_cross_unchanged(dispatcher):
    table = pa.table(
        {
            "words": pa.array(["a", "b", "a"]).dictionary_encode(),
            "views": pa.array(["x" * 20, "y", None], getattr(pa, "string_view", pa.string)()),
            "lists": pa.array([[1, None], [], None], pa.list_(pa.int16())),
            "structs": pa.array([{"a": 1}, None, {"a": None}]),
            "times": pa.array([0, 1, 2], pa.timestamp("us", "Europe/Paris")),
            "nothing": pa.nulls(3),
            "maps": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        }
    ).replace_schema_metadata({"who": "us"})
    back = echoed(dispatcher, table)
    assert back.schema.equals(table.schema, check_metadata=True)
    assert back.to_pydict() == table.to_pydict()


def test_no_columns_are_a_number_of_rows(dispatcher):
    with dispatcher.session("count_rows") as session:
        list(session.process(pa.table({"x": [1, 2]}).select([])))
        assert session.data == b"2"


def test_an_empty_stream_has_a_schema(dispatcher):
    empty = pa.schema({"x": pa.int32()}).empty_table()
    assert echoed(dispatcher, empty) == empty


def test_an_empty_iterable_needs_one(dispatcher):
    with pytest.raises(anyudf.MisuseError, match="give input_schema"):
        echoed(dispatcher, [])
    with dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int32()})) as session:
        assert session.process([]).read_all().num_rows == 0
    # Where the function's own do as well.
    with dispatcher.session("explode_words") as session:
        assert session.process([]).read_all().column_names == ["word", "position"]


def test_a_function_without_input_makes_rows(dispatcher):
    with dispatcher.session("generate_series", options={"start": 1, "stop": 100_000}) as session:
        assert sum(batch.num_rows for batch in session.process()) == 100_000
        assert session.ended == "finished"
        assert session.metrics["rows_out"] == 100_000


def test_r6_a_stream_is_read_as_it_is_asked_for(dispatcher):
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield pa.record_batch({"x": pa.array(range(65_536), pa.int64())})

    with dispatcher.session("echo_batches") as session:
        taken = 0
        for _ in session.process(endless()):
            taken += 1
            if taken == 50:
                break
    # Half a megabyte each: two windows, two queues, and little else.
    assert pulled - taken < 80


def test_r6_a_query_is_not_run_to_its_end(dispatcher):
    query = duckdb.sql("SELECT range AS x FROM range(1_000_000_000_000)")
    with dispatcher.session("echo_batches") as session:
        assert next(session.process(query)).num_rows > 0


def test_a_batch_is_anything_that_is_one(dispatcher):
    class One:
        def __arrow_c_array__(self, requested_schema=None):
            return pa.record_batch({"x": [1]}).__arrow_c_array__(requested_schema)

    with dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()})) as session:
        session.send(One())
        session.finish()
        assert session.next().to_pydict() == {"x": [1]}
        for what in (None, [1], pa.array([1])):
            with pytest.raises(anyudf.MisuseError, match="is no table"):
                session.send(what)


def test_a_large_batch_is_sent_in_parts(dispatcher):
    table = pa.table({"x": range(1_000_000)})
    with dispatcher.session("echo_batches") as session:
        batches = list(session.process(table))
    assert len(batches) > 1
    assert pa.Table.from_batches(batches)["x"].combine_chunks() == table["x"].combine_chunks()


def test_results_are_a_stream_themselves(dispatcher, numbers):
    def results():
        return dispatcher.session("echo_batches").process(numbers)

    assert pa.table(results()).to_pydict() == numbers.to_pydict()
    assert polars.DataFrame(results()).height == 3
    assert results().schema.names == ["n", "s"]
    # And the input of another call, which is told what went wrong with them.
    assert echoed(dispatcher, results()).num_rows == 3
    with pytest.raises(anyudf.UserError, match="there is no function"):
        echoed(dispatcher, dispatcher.session("nothing").process(numbers))


def test_e8_what_the_input_raises_comes_out_as_it_is(dispatcher):
    class Mine(Exception):
        pass

    mine = Mine("no more")

    def failing():
        yield {"x": [1]}
        raise mine

    with dispatcher.session("echo_batches") as session:
        with pytest.raises(Mine) as raised:
            list(session.process(failing()))
        assert raised.value is mine
    assert session.ended == "cancelled"


@pytest.mark.parametrize("way", ["a loop", "an event loop"])
def test_e8_also_what_can_not_say_what_it_is(dispatcher, way):
    class Mute(Exception):
        def __str__(self):
            raise ZeroDivisionError

    def failing():
        yield {"x": [1]}
        raise Mute

    async def all_of(results):
        async for _ in results:
            pass

    with dispatcher.session("echo_batches") as session:
        results = session.process(failing())
        if way == "a loop":
            with pytest.raises(Mute):
                while True:
                    next(results)
            assert next(results, None) is None
        else:
            with pytest.raises(Mute):
                asyncio.run(asyncio.wait_for(all_of(results), 30))
    assert session.ended == "cancelled"


def test_e8_so_does_what_a_reader_raises(dispatcher):
    def failing():
        yield pa.record_batch({"x": [1]})
        raise KeyError("mine")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), failing())
    with dispatcher.session("echo_batches") as session, pytest.raises(KeyError, match="mine"):
        list(session.process(reader))


@pytest.mark.parametrize("way", ["a loop", "an event loop", "jobs"])
def test_e8_what_is_no_batch_is_not_the_end_of_the_input(dispatcher, way):
    class Reader:
        schema = pa.schema({"x": pa.float64()})
        items = iter([pa.record_batch({"x": [1.0]}), None, pa.record_batch({"x": [2.0]})])

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.items)

        def __arrow_c_stream__(self, requested_schema=None):
            raise AssertionError("its iterator tells more")

    async def all_of(session):
        return [batch async for batch in session.process(Reader())]

    with dispatcher.session("echo_batches") as session, pytest.raises(anyudf.MisuseError, match="NoneType is no table"):
        if way == "a loop":
            list(session.process(Reader()))
        elif way == "an event loop":
            asyncio.run(all_of(session))
        else:
            anyudf.run("distance_miles", Reader(), args=[0, 0, 0, 0], worker=dispatcher, jobs=2)


def test_e8_a_batch_that_ends_an_iteration_is_not_the_end_of_the_input(dispatcher):
    class Ends:
        def __arrow_c_array__(self, requested_schema=None):
            raise StopIteration

    with dispatcher.session("echo_batches") as session, pytest.raises(RuntimeError):
        list(session.process(iter([{"x": [1]}, Ends()])))
    with dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()})) as session:
        exchange = session._native.exchange()
        assert exchange.step() is True
        with pytest.raises(ValueError):
            exchange.feed(None)
        exchange.finish()
        assert exchange.step() is None


def test_e8_a_batch_of_another_schema_is_the_callers_fault(dispatcher):
    with dispatcher.session("echo_batches") as session:
        with pytest.raises(anyudf.MisuseError, match='column "x": the batch has Utf8, the schema Int64') as raised:
            list(session.process([{"x": [1]}, {"x": ["a"]}]))
        assert raised.value.condition
    assert session.ended == "cancelled"


def test_e12_whoever_stops_iterating_cancels(dispatcher):
    session = dispatcher.session("generate_series", options={"start": 1, "stop": 10**12})
    for _ in session.process():
        break
    session.close()
    assert session.ended == "cancelled"
    with dispatcher.session("generate_series", options={"start": 1, "stop": 10**12}) as session:
        next(session.process())
    assert session.ended == "cancelled"


def test_e12_the_callers_own_failure_cancels(dispatcher):
    with pytest.raises(ZeroDivisionError):
        with dispatcher.session("echo_batches") as session:
            for _ in session.process(iter(lambda: {"x": [1]}, None)):
                _ = 1 / 0
    assert session.ended == "cancelled"


def test_e2_once_is_once(dispatcher, numbers):
    with dispatcher.session("echo_batches") as session:
        with pytest.raises(anyudf.MisuseError, match="needs an open session"):
            session.next()
        results = session.process(numbers)
        with pytest.raises(anyudf.MisuseError, match="process was called before"):
            session.process(numbers)
        assert sum(batch.num_rows for batch in results) == 3
        with pytest.raises(anyudf.MisuseError, match="come once"):
            list(results)
        with pytest.raises(anyudf.MisuseError, match="opened before"):
            session.open(numbers.schema)
        for late in (session.finish, session.next):
            with pytest.raises(anyudf.MisuseError, match="too late"):
                late()
    session.close()


def test_e1_a_session_that_never_began_ends_quietly(dispatcher, numbers):
    session = dispatcher.session("echo_batches")
    session.cancel("never mind")
    session.close()
    with pytest.raises(anyudf.CancelledError):
        session.open(numbers.schema)
    with dispatcher.session("echo_batches", input_schema=numbers.schema) as session:
        pass
    assert session.ended == "cancelled"


def test_one_thread_sends_and_another_takes(dispatcher):
    with dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()})) as session:

        def send():
            for row in range(200):
                session.send(pa.record_batch({"x": [row]}))
            session.finish()

        sender = threading.Thread(target=send)
        sender.start()
        taken = []
        while (batch := session.next()) is not None:
            taken += batch["x"].to_pylist()
        sender.join()
        assert session.next() is None, "asking again says the same"
    assert taken == list(range(200))
    assert session.progress()["rows_taken"] == 200


def test_cancel_wakes_who_waits(dispatcher):
    with dispatcher.session("echo_batches", input_schema=pa.schema({"x": pa.int64()})) as session:
        threading.Timer(0.05, session.cancel).start()
        with pytest.raises(anyudf.CancelledError):
            session.next()
    assert session.ended == "cancelled"


def test_many_threads_share_a_dispatcher(dispatcher):
    wrong = []

    def work(seed):
        for turn in range(10):
            table = pa.table({"x": [seed, turn] * 500})
            if echoed(dispatcher, table) != table:
                wrong.append((seed, turn))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_iterator_is_one_threads_at_a_time(dispatcher):
    results = None

    def asking_back():
        yield {"x": [1]}
        yield next(results)

    with dispatcher.session("echo_batches") as session:
        results = iter(session.process(asking_back()))
        with pytest.raises(anyudf.MisuseError, match="one at a time"):
            list(results)


def test_a_payload_of_any_format_is_passed_on(dispatcher):
    with dispatcher.session(anyudf.Payload("echo/sink", b""), output_schema=pa.schema([])) as session:
        list(session.process([{"x": [1]}, {"x": [2]}]))
        assert session.data == b"2"


def nothing(kind, *children):
    """An array without values, whose buffer of offsets has not even one, as older Arrows write it."""
    behind = pa.py_buffer(b"\xfe" * 64)
    buffers = [None, behind.slice(0, 0), behind.slice(0, 0)]
    return pa.Array.from_buffers(kind, 0, buffers[: kind.num_buffers], children=list(children))


def test_what_has_no_values_needs_no_offsets(dispatcher, python):
    text = nothing(pa.string())
    lists = nothing(pa.list_(pa.string()), text)
    maps = pa.StructArray.from_arrays([text, nothing(pa.binary())], ["key", "value"])
    nulls = [None, pa.py_buffer(b"\0" * 8)]
    columns = {
        "text": text,
        "lists": lists,
        "map": nothing(pa.map_(pa.string(), pa.binary()), maps),
    }
    assert echoed(dispatcher, pa.record_batch(columns)).num_rows == 0
    # They may stand in others, of which there are some.
    one = pa.Array.from_buffers(pa.list_(lists.type), 1, [pa.py_buffer(b"\0"), nulls[1]], children=[lists])
    batch = pa.record_batch({"one": one})
    assert echoed(dispatcher, batch).to_pylist() == [{"one": None}]
    same = anyudf.udf(lambda batches: batches, kind="map", name="same")
    assert anyudf.run(same, batch, worker=python).to_pylist() == [{"one": None}]
