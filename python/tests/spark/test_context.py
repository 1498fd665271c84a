"""What a function hears of the task that it runs in."""

import json

import anyudf.spark


def test_init_has_the_task_and_the_time_zone(spark):
    def tell(batches):
        import json

        import pyarrow as pa

        import anyudf

        here = anyudf.invocation()
        rows = sum(batch.num_rows for batch in batches)
        yield pa.record_batch({"zone": [here.timezone], "task": [json.dumps(dict(here.task_context))], "rows": [rows]})

    schema = "zone string, task string, rows long"
    found = anyudf.spark.map_in_arrow(spark.range(0, 100, 1, 4), tell, schema=schema).collect()
    tasks = [json.loads(row.task) for row in found]
    assert sorted(task["partition"] for task in tasks) == ["0", "1", "2", "3"]
    assert len({task["task"] for task in tasks}) == 4 and len({task["stage"] for task in tasks}) == 1
    assert {task["attempt"] for task in tasks} == {"0"} and {task["application"] for task in tasks} == {"anyudf"}
    assert {row.zone for row in found} == {"Europe/Paris"} and sum(row.rows for row in found) == 100
    # Also one that is set after the function was made.
    frame = anyudf.spark.map_in_arrow(spark.range(1), tell, schema=schema)
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        assert frame.collect()[0].zone == "Asia/Tokyo"
    finally:
        spark.conf.set("spark.sql.session.timeZone", "Europe/Paris")
