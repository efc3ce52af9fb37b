"""Identity: index, sealed id, surrogate key and date offset of every person seen, for the vault.

Keys and offsets of people are drawn at random (45 CFR 164.514(c): not derived from information
about the individual) or, for lakes that are to be compared, derived. Keys of all other resources
are HMACs under the lake's own key, which the vault alone holds.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.free_text import KNOWN, per_person_known
from clinical_lakehouse.methods.surrogate import date_shift_days, hmac_sha256, surrogate_key

_MODE, _PADDING = "GCM", "DEFAULT"
_DRAWN = "patient_index STRING, subject_key BIGINT, date_shift_days INT"
_DRAWN_NAMES = ["patient_index", "subject_key", "date_shift_days"]
# Elements of a Patient that say who it is, read as text only to see that they changed.
_IDENTIFYING = ", ".join(
    f"{name} STRING"
    for name in ("name", "telecom", "address", "identifier", "contact", "photo", "extension")
)
_KEY_BITS = 63


def per_person(patients: DataFrame) -> DataFrame:
    """`patient_id` and `identity_version` (changes with what identifies them) of Patient rows."""
    said = F.xxhash64(F.from_json("content", _IDENTIFYING))
    versions = F.array_sort(F.collect_set(said))
    return patients.groupBy("patient_id").agg(F.xxhash64(versions).alias("identity_version"))


def with_index(persons: DataFrame, key: bytes) -> DataFrame:
    """`persons` (patient_id) with patient_index, by which the vault finds them unopened."""
    message = F.concat(F.lit("patient-index/"), F.col("patient_id"))
    return persons.withColumn("patient_index", hmac_sha256(key, message))


def sealed(people: DataFrame, seal: tuple[str, bytes]) -> DataFrame:
    """`people` with patient_id and `known` sealed (AES-256-GCM, the index as AAD)."""
    key_id, key = seal

    def close(text: Column, aad: Column) -> Column:
        mode = (F.lit(_MODE), F.lit(_PADDING), None, aad.cast("binary"))
        return F.aes_encrypt(text.cast("binary"), F.lit(key), *mode)

    made = people.withColumns(
        {
            "patient_id_sealed": close(F.col("patient_id"), F.col("patient_index")),
            "identity_sealed": close(F.to_json("known"), _identity_aad()),
            "key_id": F.lit(key_id),
        }
    )
    return made.drop("patient_id", "known")


def opened(rows: DataFrame, seals: Mapping[str, bytes]) -> DataFrame:
    """vault.subject rows with patient_id and `known` for what is sealed: the one place that opens.

    `seals` is AES keys by key_id; a row under a key that is not among them stops the query.
    """
    key = F.raise_error(F.lit("vault.subject holds a row under another key"))
    for key_id, value in seals.items():
        key = F.when(F.col("key_id") == key_id, F.lit(value)).otherwise(key)

    def open_(name: str, aad: Column) -> Column:
        mode = (F.lit(_MODE), F.lit(_PADDING), aad.cast("binary"))
        return F.aes_decrypt(F.col(name), key, *mode).cast("string")

    made = rows.withColumns(
        {
            "patient_id": open_("patient_id_sealed", F.col("patient_index")),
            "known": F.from_json(open_("identity_sealed", _identity_aad()), KNOWN),
        }
    )
    return made.drop("patient_id_sealed", "identity_sealed", "key_id")


def _identity_aad() -> Column:
    return F.concat(F.col("patient_index"), F.lit("/identity"))


@dataclass(frozen=True, repr=False)
class Identities:
    """How people get key and offset: within `most_days` (0: real dates), derived under `key` or,
    without one, drawn at random."""

    most_days: int
    key: bytes | None = None

    def of(self, people: DataFrame) -> DataFrame:
        """subject_key and date_shift_days of `people` (patient_id, patient_index), by their index.

        What is drawn differs at each evaluation: write it once, and read what was written.
        """
        named = people.select("patient_id", "patient_index")
        if self.key is None:
            return named.select("patient_index").mapInArrow(_drawer(self.most_days), _DRAWN)
        person = F.col("patient_id")
        return named.select(
            "patient_index",
            surrogate_key(self.key, "Patient", person).alias("subject_key"),
            date_shift_days(self.key, person, self.most_days).alias("date_shift_days"),
        )

    def redated(self, known: DataFrame) -> DataFrame:
        """Opened vault.subject rows with another offset, where theirs is none that is allowed; keys
        stay."""
        size = F.abs(F.col("date_shift_days"))
        is_bad = (size > self.most_days) | ((size == 0) & F.lit(self.most_days > 0))
        known = known if self.key else known.filter(is_bad)
        new = self.of(known).select("patient_index", F.col("date_shift_days").alias("_days"))
        both = known.join(new, "patient_index").filter("_days <> date_shift_days")
        return both.withColumn("date_shift_days", F.col("_days")).drop("_days")


def newly_said(patients: DataFrame, stored: DataFrame, key: bytes) -> DataFrame:
    """patient_id, index, version and `known` of people of whom vault.subject has nothing, or what
    other Patient rows said."""
    people = with_index(per_person(patients), key)
    new = people.join(stored, ["patient_index", "identity_version"], "left_anti")
    theirs = patients.join(new.select("patient_id"), "patient_id", "left_semi")
    return new.join(per_person_known(theirs), "patient_id")


def only_new(people: DataFrame, stored: DataFrame) -> DataFrame:
    """People whom vault.subject does not know."""
    return people.join(stored, "patient_index", "left_anti")


def with_own_key(rows: DataFrame, resource_type: str, stored: DataFrame, key: bytes) -> DataFrame:
    """Rows of one type (resource_id) with the key of their silver rows, `own_key`; a person's
    stands in the vault (`stored`), and one it does not know is left out."""
    if resource_type != "Patient":
        return rows.withColumn("own_key", surrogate_key(key, resource_type, F.col("resource_id")))
    known = stored.select("patient_index", F.col("subject_key").alias("own_key"))
    indexed = with_index(rows.withColumn("patient_id", F.col("resource_id")), key)
    return indexed.join(known, "patient_index").drop("patient_index")


def with_what_is_said(known: DataFrame, people: DataFrame) -> DataFrame:
    """Opened vault.subject rows of those of `people` they know, with these people's identity."""
    kept = known.drop("patient_id", "known", "identity_version")
    return kept.join(people, "patient_index")


def only_repeated_keys(stored: DataFrame) -> DataFrame:
    """vault.subject rows whose key an earlier row has (`is_repeated`): to be drawn again."""
    order = Window.partitionBy("subject_key").orderBy("first_seen_at", "patient_index")
    ranked = stored.withColumn("_rank", F.row_number().over(order))
    return ranked.filter("_rank > 1").withColumn("is_repeated", F.lit(True)).drop("_rank")


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
            columns = [
                batch["patient_index"],
                pa.array(keys, pa.int64()),
                pa.array(days, pa.int32()),
            ]
            yield pa.RecordBatch.from_arrays(columns, _DRAWN_NAMES)

    return draw


def _days(most_days: int) -> int:
    """An offset of -most_days..-1 or 1..most_days, each as likely."""
    if most_days == 0:
        return 0
    step = secrets.randbelow(2 * most_days) - most_days
    return step if step < 0 else step + 1
