"""Identity: index, sealed id, surrogate key and date offset of every person seen, for the vault.

Keys and offsets of people are drawn at random (45 CFR 164.514(c): not derived from information
about the individual) or, for lakes that are to be compared, derived. Keys of all other resources
are HMACs under the lake's own key, which the vault alone holds.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.methods.surrogate import date_shift_days, hmac_sha256, surrogate_key

_MODE, _PADDING = "GCM", "DEFAULT"
_DRAWN = "patient_id STRING, patient_index STRING, subject_key BIGINT, date_shift_days INT"
_KEY_BITS = 63


def with_index(persons: DataFrame, key: bytes) -> DataFrame:
    """`persons` (patient_id) with patient_index, by which the vault finds them unopened."""
    message = F.concat(F.lit("patient-index/"), F.col("patient_id"))
    return persons.withColumn("patient_index", hmac_sha256(key, message))


def sealed(people: DataFrame, seal: tuple[str, bytes]) -> DataFrame:
    """`people` with the id sealed (AES-256-GCM, the index as AAD) in place of patient_id."""
    key_id, key = seal
    aad = F.col("patient_index").cast("binary")
    closed = F.aes_encrypt(
        F.col("patient_id").cast("binary"), F.lit(key), F.lit(_MODE), F.lit(_PADDING), None, aad
    )
    made = people.withColumns({"patient_id_sealed": closed, "key_id": F.lit(key_id)})
    return made.drop("patient_id")


def opened(rows: DataFrame, seals: Mapping[str, bytes]) -> DataFrame:
    """vault.subject rows with patient_id in place of the sealed one: the one place that opens it.

    `seals` is AES keys by key_id; a row under a key that is not among them stops the query.
    """
    key = F.raise_error(F.lit("vault.subject holds a row under another key"))
    for key_id, value in seals.items():
        key = F.when(F.col("key_id") == key_id, F.lit(value)).otherwise(key)
    aad = F.col("patient_index").cast("binary")
    text = F.aes_decrypt(F.col("patient_id_sealed"), key, F.lit(_MODE), F.lit(_PADDING), aad)
    return rows.withColumn("patient_id", text.cast("string")).drop("patient_id_sealed", "key_id")


@dataclass(frozen=True, repr=False)
class Identities:
    """How people get key and offset: within `most_days` (0: real dates), derived under `key` or,
    without one, drawn at random."""

    most_days: int
    key: bytes | None = None

    def of(self, people: DataFrame) -> DataFrame:
        """`people` (patient_id, patient_index) with subject_key and date_shift_days.

        What is drawn differs at each evaluation: write it once, and read what was written.
        """
        named = people.select("patient_id", "patient_index")
        if self.key is None:
            return named.mapInArrow(_drawer(self.most_days), _DRAWN)
        person = F.col("patient_id")
        return named.withColumns(
            {
                "subject_key": surrogate_key(self.key, "Patient", person),
                "date_shift_days": date_shift_days(self.key, person, self.most_days),
            }
        )

    def redated(self, stored: DataFrame, seals: Mapping[str, bytes]) -> DataFrame:
        """Opened vault.subject rows with another offset, where theirs is none that is allowed; keys
        stay."""
        size = F.abs(F.col("date_shift_days"))
        is_bad = (size > self.most_days) | ((size == 0) & F.lit(self.most_days > 0))
        known = opened(stored if self.key else stored.filter(is_bad), seals)
        new = self.of(known).select("patient_index", F.col("date_shift_days").alias("_days"))
        both = known.join(new, "patient_index").filter("_days <> date_shift_days")
        return both.withColumn("date_shift_days", F.col("_days")).drop("_days")


def only_new(people: DataFrame, stored: DataFrame) -> DataFrame:
    """People whom vault.subject does not know."""
    return people.join(stored.select("patient_index"), "patient_index", "left_anti")


def only_repeated_keys(stored: DataFrame) -> DataFrame:
    """vault.subject rows whose subject_key an earlier row has: to be drawn again."""
    order = Window.partitionBy("subject_key").orderBy("first_seen_at", "patient_index")
    ranked = stored.withColumn("_rank", F.row_number().over(order))
    return ranked.filter("_rank > 1").drop("_rank")


def only_changed(rows: DataFrame, stored: DataFrame, columns: list[str]) -> DataFrame:
    """Rows that do not stand in `stored` with the same values of `columns` (null equals null)."""
    known = stored.select(*columns).alias("k")
    same = F.lit(True)
    for name in columns:
        same = same & F.col(f"n.{name}").eqNullSafe(F.col(f"k.{name}"))
    return rows.alias("n").join(known, same, "left_anti")


def _drawer(most_days: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def draw(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            keys = [secrets.randbits(_KEY_BITS) for _ in range(batch.num_rows)]
            days = [_days(most_days) for _ in range(batch.num_rows)]
            columns = {name: batch[name] for name in ("patient_id", "patient_index")}
            columns["subject_key"] = pa.array(keys, pa.int64())
            columns["date_shift_days"] = pa.array(days, pa.int32())
            yield pa.RecordBatch.from_pydict(columns)

    return draw


def _days(most_days: int) -> int:
    """An offset of -most_days..-1 or 1..most_days, each as likely."""
    if most_days == 0:
        return 0
    step = secrets.randbelow(2 * most_days) - most_days
    return step if step < 0 else step + 1
