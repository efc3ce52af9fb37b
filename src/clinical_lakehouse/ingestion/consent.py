"""Who and what may be used for research, by the windows of each person's Consent documents.

A resource is permitted if one document permits it and none denies it; a deny is overruled only by
an exception below it in the same document.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.consent_policy import DECIDING_DATES, Policy
from clinical_lakehouse.ingestion.fields import CODING, PERIOD, moment
from clinical_lakehouse.ingestion.versions import ORDER, only_deleted, only_newest

# What a window's struct holds; sorted like this the widest permit stands first.
_WINDOW = (
    *("starts_at", "ends_at", "consent_id", "path", "consent_version", "consented_at", "effect"),
    *("rule", "resource_types", "labels", "mentions"),
)
_DECIDING = ("rule", "consent_id", "consent_version", "starts_at", "ends_at")


def per_person_decision(persons: DataFrame, windows: DataFrame, policy: Policy) -> DataFrame:
    """One row per patient_id of `persons`: is_permitted, is_partial, and the deciding window.

    `is_partial`: permitted, but not for every resource. `window_hash` changes with any window.
    """
    joined = persons.join(_grouped(windows), "patient_id", "left").withColumns(
        {"permits": _with_effect("permit"), "denies": _with_effect("deny")}
    )
    alive = F.filter(
        "permits", lambda p: ~F.exists("denies", lambda d: _is_total(d) & _beats(d, p))
    )
    decided = joined.withColumn("alive", alive)
    absent = F.col("windows").isNull()
    is_permitted = (F.size("alive") > 0) | (absent & F.lit(policy.when_absent == "permit"))
    whole = F.exists("alive", _is_total) & (F.size("denies") == 0)
    by = F.coalesce(_first("alive"), _first(F.filter("denies", _is_total)), _latest())
    rule = F.coalesce(by["rule"], F.lit("none"))
    return decided.select(
        "patient_id",
        F.coalesce(is_permitted, F.lit(False)).alias("is_permitted"),
        F.coalesce((F.size("alive") > 0) & ~whole, F.lit(False)).alias("is_partial"),
        rule.alias("rule"),
        *(by[name].alias(name) for name in _DECIDING[1:]),
        F.when(~absent, F.xxhash64("windows")).alias("window_hash"),
    )


def without_deleted(decisions: DataFrame, deleted: DataFrame) -> DataFrame:
    """The same, but nothing of a person whose Patient (`deleted`: resource_id) is deleted."""
    gone = deleted.select(F.col("resource_id").alias("patient_id"), F.lit(True).alias("_is_gone"))
    is_there = F.col("_is_gone").isNull()
    by = {name: F.when(is_there, F.col(name)) for name in _DECIDING[1:]}
    flags = {name: is_there & F.col(name) for name in ("is_permitted", "is_partial")}
    rule = F.when(is_there, F.col("rule")).otherwise("deleted")
    marked = decisions.join(gone, "patient_id", "left").withColumns({**by, **flags, "rule": rule})
    return marked.drop("_is_gone")


def per_resource_decision(rows: DataFrame, windows: DataFrame, persons: DataFrame) -> DataFrame:
    """One row per newest resource of the people in `persons`: is_permitted, and why.

    `rows` are valid bronze rows; the rule is that of the deciding window, or undated,
    outside-window or outside-scope where a permit does not reach the resource.
    """
    there = rows.join(only_deleted(rows), ["resource_type", "resource_id"], "left_anti")
    dated = F.col("resource_type").isin(*DECIDING_DATES)
    grouped = _grouped(windows.join(persons.select("patient_id"), "patient_id", "left_semi"))
    met = (
        _with_facts(there.filter(dated).join(grouped, "patient_id"))
        .withColumns(
            {
                "scoped": F.filter("windows", lambda w: (w["effect"] == "permit") & _covers(w)),
                "denies": F.filter(
                    "windows", lambda w: (w["effect"] == "deny") & _covers(w) & _denies_then(w)
                ),
            }
        )
        .withColumn("permits", F.filter("scoped", _permits_then))
    )
    alive = F.filter("permits", lambda p: ~F.exists("denies", lambda d: _beats(d, p)))
    found = met.withColumn("alive", alive)
    by = F.coalesce(_first("alive"), _first("denies"), _first("scoped"), _first("windows"))
    unreached = (
        F.when(F.size("scoped") == 0, "outside-scope")
        .when(F.col("dated_at").isNull(), "undated")
        .otherwise("outside-window")
    )
    is_reached = (F.size("alive") > 0) | (F.size("denies") > 0)
    # The newest version is taken last: so the answer is moved between workers, not the content.
    answers = found.select(
        "resource_type", "resource_id", "patient_id", "dated_at",
        (F.size("alive") > 0).alias("is_permitted"),
        F.when(is_reached, by["rule"]).otherwise(unreached).alias("rule"),
        *(by[name].alias(name) for name in _DECIDING[1:]),
        *ORDER,
    )  # fmt: skip
    return only_newest(answers).drop(*ORDER)


def decision_table(rows: DataFrame, decisions: DataFrame, denials: DataFrame) -> DataFrame:
    """One row per newest resource of every person: is_permitted, rule, document, version, window.

    What bronze.consent_decision says of its person, unless bronze.consent_denial says otherwise.
    """
    own = ["resource_type", "resource_id", "patient_id"]
    dated = rows.filter(F.col("resource_type").isin(*DECIDING_DATES))
    denied = denials.withColumn("is_permitted", F.lit(False)).drop("dated_at")
    theirs = only_newest(dated).select(*own).join(denied.select(*own), own, "left_anti")
    of_person = decisions.select("patient_id", "is_permitted", *_DECIDING)
    return theirs.join(of_person, "patient_id").unionByName(denied)


def _grouped(windows: DataFrame) -> DataFrame:
    made = F.array_sort(F.collect_list(F.struct(*_WINDOW)))
    return windows.groupBy("patient_id").agg(made.alias("windows"))


def _with_effect(effect: str) -> Column:
    return F.filter("windows", lambda w: w["effect"] == effect)


def _is_total(window: Column) -> Column:
    """About all data of the person: no dates, and no kind but the Patient itself."""
    everything = window["resource_types"].isNull() | F.array_contains(
        window["resource_types"], "Patient"
    ) & (window["effect"] == "deny")
    names = ("starts_at", "ends_at", "labels", "mentions")
    for name in names:
        everything = everything & window[name].isNull()
    return F.coalesce(everything, F.lit(False))


def _beats(deny: Column, permit: Column) -> Column:
    """A deny beats every permit but the exceptions below it in its own document."""
    below = permit["path"].startswith(F.concat(deny["path"], F.lit(".")))
    return ~((deny["consent_id"] == permit["consent_id"]) & below)


def _with_facts(rows: DataFrame) -> DataFrame:
    """The deciding date, security labels and searchable text of each resource."""
    plain = {p for paths in DECIDING_DATES.values() for p in paths if "." not in p}
    periods = {p.split(".")[0] for paths in DECIDING_DATES.values() for p in paths if "." in p}
    fields = [f"{name} STRING" for name in sorted(plain)]
    fields += [f"{name} {PERIOD}" for name in sorted(periods - {"context", "collection"})]
    fields += [f"context STRUCT<period: {PERIOD}>", f"meta STRUCT<security: ARRAY<{CODING}>>"]
    fields += [f"collection STRUCT<collectedDateTime: STRING, collectedPeriod: {PERIOD}>"]
    read = rows.withColumn("r", F.from_json("content", ", ".join(fields)))
    at = F.lit(None).cast("timestamp")
    for resource_type, paths in DECIDING_DATES.items():
        if paths:
            given = F.coalesce(*(moment(F.col(f"r.{path}")) for path in paths))
            at = F.when(F.col("resource_type") == resource_type, given).otherwise(at)
    own = F.concat(F.lit('"'), "resource_type", F.lit("/"), "resource_id", F.lit('"'))
    return read.select(
        "resource_type", "resource_id", "patient_id", "windows", *ORDER,
        at.alias("dated_at"), F.col("r.meta.security.code").alias("marks"),
        F.concat("content", own).alias("text"),
    )  # fmt: skip


def _covers(window: Column) -> Column:
    """Is the resource of the window's kind? A Patient goes with any permit; no mark is N."""
    types, labels, groups = window["resource_types"], window["labels"], window["mentions"]
    marks = F.coalesce(F.col("marks"), F.array(F.lit("N")))
    kind = types.isNull() | F.array_contains(types, F.col("resource_type"))
    label = labels.isNull() | F.coalesce(F.arrays_overlap(labels, marks), F.lit(False))
    holds = groups.isNull() | F.forall(
        groups, lambda g: F.exists(g, lambda text: F.contains(F.col("text"), text))
    )
    return (kind & label & holds) | (_is_patient() & (window["effect"] == "permit"))


def _permits_then(window: Column) -> Column:
    at, starts, ends = F.col("dated_at"), window["starts_at"], window["ends_at"]
    inside = (starts.isNull() | (at >= starts)) & (ends.isNull() | (at < ends))
    return F.coalesce(inside, F.lit(False)) | _is_patient()


def _denies_then(window: Column) -> Column:
    """A resource without a date cannot be shown to lie outside; a Patient has no time."""
    at, starts, ends = F.col("dated_at"), window["starts_at"], window["ends_at"]
    inside = F.coalesce(at >= starts, F.lit(True)) & F.coalesce(at < ends, F.lit(True))
    return F.when(_is_patient(), starts.isNull() & ends.isNull()).otherwise(inside)


def _is_patient() -> Column:
    return F.col("resource_type") == "Patient"


def _first(windows: str | Column) -> Column:
    return F.get(F.col(windows) if isinstance(windows, str) else windows, F.lit(0))


def _latest() -> Column:
    """The window of the latest document."""
    dated = F.transform("windows", lambda w: F.struct(w["consented_at"], w.alias("w")))
    return F.array_max(dated)["w"]
