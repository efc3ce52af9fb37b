"""The content hash sees every value and every repeated row, and no order."""

from clinical_lakehouse.methods.content_hash import content_hash


def _hash(spark, *rows, schema="a INT, b STRING"):
    frame = spark.createDataFrame(list(rows), schema)
    return frame.agg(content_hash(frame.columns)).collect()[0][0]


def test_order_and_partitioning_do_not_matter(spark):
    rows = [(n, str(n % 7)) for n in range(50)]
    frame = spark.createDataFrame(rows[::-1], "a INT, b STRING").repartition(3, "b")
    assert frame.agg(content_hash(["a", "b"])).collect()[0][0] == _hash(spark, *rows)


def test_a_value_a_null_and_a_repeated_row_do_matter(spark):
    hashes = {
        _hash(spark, (1, "x")),
        _hash(spark, (1, "y")),
        _hash(spark, (1, None)),
        _hash(spark, (1, "")),
        _hash(spark, (1, "x"), (1, "x")),
        _hash(spark, (1, "x"), (1, "x"), (1, "x")),
        _hash(spark),
    }
    assert len(hashes) == 7
    assert _hash(spark, (1, None), schema="a INT, b STRING") != _hash(
        spark, (None, "1"), schema="a INT, b STRING"
    )


def test_the_entries_of_a_map_have_no_order(spark):
    made = spark.sql("SELECT map('a', 1, 'b', 2) AS m UNION ALL SELECT NULL")
    turned = spark.sql("SELECT map('b', 2, 'a', 1) AS m UNION ALL SELECT NULL")
    other = spark.sql("SELECT map('b', 1, 'a', 2) AS m UNION ALL SELECT NULL")
    first, same, unlike = (
        rows.agg(content_hash(["m"], maps=["m"])).collect()[0][0] for rows in (made, turned, other)
    )
    assert first == same != unlike
