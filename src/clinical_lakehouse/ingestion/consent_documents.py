"""Consent documents taken apart: one row per provision of a tree, with what stands above it.

Source: FHIR R4 Consent (4.0.1): policyRule is the base, provisions are exceptions to what stands
above them. Many documents give the root provision a type, which R4 does not; that is read too.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.consent_policy import Policy
from clinical_lakehouse.ingestion.fields import CODING, CONCEPT, PERIOD, REFERENCE, moment
from clinical_lakehouse.ingestion.versions import only_newest

_FACTS = (
    *("type", "period", "dataPeriod", "actor", "action", "securityLabel", "purpose", "class"),
    *("code", "data"),
)
_RESTRICTIONS = ("dataPeriod", *_FACTS[3:])
_PROVISION = (
    f"type: STRING, period: {PERIOD}, dataPeriod: {PERIOD}, "
    f"actor: ARRAY<STRUCT<role: {CONCEPT}, reference: {REFERENCE}>>, action: ARRAY<{CONCEPT}>, "
    f"securityLabel: ARRAY<{CODING}>, purpose: ARRAY<{CODING}>, class: ARRAY<{CODING}>, "
    f"code: ARRAY<{CONCEPT}>, data: ARRAY<STRUCT<reference: {REFERENCE}>>, provision: "
)
# Root, exceptions, exceptions to these; what lies deeper is seen as text and refused.
_TREE = f"STRUCT<{_PROVISION}ARRAY<STRUCT<{_PROVISION}ARRAY<STRUCT<{_PROVISION}ARRAY<STRING>>>>>>"
_CONSENT = (
    f"status STRING, scope {CONCEPT}, dateTime STRING, policyRule {CONCEPT}, provision {_TREE}"
)


def per_provision(consents: DataFrame, policy: Policy) -> DataFrame:
    """One row per provision of each newest document: `path`, `effect`, `fault` and `line`.

    `line` holds the provisions from the root to this one; a document with a `fault` gives one row.
    Documents of an ignored scope (consent to treatment) give none.
    """
    read = only_newest(consents).withColumn("r", F.from_json("content", _CONSENT))
    scopes = codes_of(read["r.scope.coding"])
    is_ignored = (F.size(scopes) > 0) & F.forall(scopes, lambda c: c.isin(*policy.ignored_scopes))
    documents = read.filter(~F.coalesce(is_ignored, F.lit(False))).select(
        "patient_id",
        F.col("resource_id").alias("consent_id"),
        F.coalesce("version_id", "content_hash").alias("consent_version"),
        F.col("r.status").alias("status"),
        moment(F.col("r.dateTime")).alias("consented_at"),
        F.col("r.provision").alias("root"),
        _base(policy).alias("base"),
    )
    with_nodes = documents.withColumn("nodes", _nodes())
    faulty = with_nodes.withColumn("fault", _fault())
    given = F.filter("nodes", lambda n: n["effect"].isNotNull())
    whole = F.when(F.col("fault").isNotNull(), F.slice("nodes", 1, 1)).otherwise(given)
    exploded = faulty.withColumn("node", F.explode(whole))
    kept = ("patient_id", "consent_id", "consent_version", "status", "consented_at", "fault")
    return exploded.select(*kept, "nodes", "node.*")


def codes_of(codings: Column) -> Column:
    """The codes of an array of Coding; empty text for a Coding without one, [] for no array."""
    found = F.transform(codings, lambda c: F.coalesce(c["code"], F.lit("")))
    return F.coalesce(found, F.array().cast("array<string>"))


def codings_of(concepts: Column) -> Column:
    """All codings of an array of CodeableConcept; one without a code where there is only text."""
    nothing = F.array(F.lit(None).cast(CODING))
    return F.flatten(F.transform(concepts, lambda c: F.coalesce(c["coding"], nothing)))


def last_given(line: Column, name: str) -> Column:
    """The element `name` of the lowest provision in the line that has it."""
    return F.get(F.reverse(F.filter(line, lambda p: p[name].isNotNull())), F.lit(0))[name]


def period_end(text: Column) -> Column:
    """The first moment after a FHIR period's end, which counts to its own precision."""
    at, digits = moment(text), F.length(text)
    return (
        F.when(digits == 4, F.timestamp_add("YEAR", F.lit(1), at))
        .when(digits == 7, F.timestamp_add("MONTH", F.lit(1), at))
        .when(digits == 10, F.timestamp_add("DAY", F.lit(1), at))
        .otherwise(F.timestamp_add("SECOND", F.lit(1), at))
    )


def _base(policy: Policy) -> Column:
    """What policyRule says: permit, deny, provision (its root's type decides) or unknown."""
    codes = codes_of(F.col("r.policyRule.coding"))

    def has(known: tuple[str, ...]) -> Column:
        return F.exists(codes, lambda c: c.isin(*known))

    return (
        F.when(F.col("r.policyRule").isNull(), "provision")
        .when(has(policy.deny_rules), "deny")
        .when(has(policy.permit_rules), "permit")
        .when(has(policy.provision_rules), "provision")
        .otherwise("unknown")
    )


def _nodes() -> Column:
    """The base and every provision as path, effect, line and is_deep; the first is the root."""
    root = F.col("root")
    inner = root["provision"]
    first = F.array(_node(F.lit("0"), _root_effect(), root))
    overruled = (F.col("base") == "permit") & root["type"].eqNullSafe(F.lit("deny"))
    base = F.array(_node(F.lit("base"), F.when(overruled, "permit"), F.lit(None).cast(_TREE)))
    second = F.transform(
        inner, lambda c, i: _node(F.concat(F.lit("0."), i.cast("string")), c["type"], root, c)
    )
    third = F.flatten(
        F.transform(
            inner,
            lambda c, i: F.coalesce(
                F.transform(
                    c["provision"],
                    lambda g, j: _node(F.concat_ws(".", F.lit("0"), i, j), g["type"], root, c, g),
                ),
                F.filter(first, lambda n: F.lit(False)),
            ),
        )
    )
    present = F.filter(F.array(first, base, second, third), lambda nodes: nodes.isNotNull())
    return F.flatten(present)


def _node(path: Column, effect: Column, *line: Column) -> Column:
    deep = line[-1]["provision"].isNotNull() if len(line) == 3 else F.lit(False)
    above = [F.struct(*(p[name].alias(name) for name in _FACTS)) for p in line]
    return F.struct(
        path.alias("path"), effect.alias("effect"), F.array(*above).alias("line"),
        deep.alias("is_deep"), F.lit(len(line)).alias("depth"),
    )  # fmt: skip


def _root_effect() -> Column:
    """What the root provision does; null where it only stands for "unless an exception says so"."""
    root, base = F.col("root"), F.col("base")
    inner = F.coalesce(root["provision"]["type"], F.array().cast("array<string>"))
    opts_out = (base == "deny") & ~F.array_contains(inner, "permit")
    is_flat = root["provision"].isNull()
    return (
        F.when(root["type"] == "permit", "permit")
        .when((base == "permit") & root["type"].isNull(), "permit")
        .when((base == "permit") | opts_out, "deny")
        .when((root["type"] == "deny") & is_flat, "deny")
    )


def _fault() -> Column:
    """Why a document cannot be read as a rule, null if it can; it then denies everything."""
    root, base, nodes = F.col("root"), F.col("base"), F.col("nodes")
    narrows = F.lit(False)
    for name in _RESTRICTIONS:
        narrows = narrows | root[name].isNotNull()
    opposite = F.when(base == "permit", "deny").when(base == "deny", "permit")
    contradicts = root["type"].eqNullSafe(opposite) & opposite.isNotNull() & ~narrows
    says_nothing = (base == "provision") & root["type"].isNull() & root["provision"].isNull()
    below = F.filter(nodes, lambda n: n["depth"] > 1)
    return (
        F.when(base == "unknown", "unknown-policy")
        .when(contradicts, "contradicting-provision")
        .when(says_nothing | F.exists(below, lambda n: n["effect"].isNull()), "untyped-provision")
        .when(F.exists(nodes, lambda n: n["is_deep"]), "nested-too-deep")
        .when(F.exists(nodes, lambda n: F.exists(n["line"], _has_bad_period)), "bad-period")
    )


def _has_bad_period(provision: Column) -> Column:
    bad = F.lit(False)
    for name in ("period", "dataPeriod"):
        start, end = provision[name]["start"], provision[name]["end"]
        unread = (start.isNotNull() & moment(start).isNull()) | (
            end.isNotNull() & moment(end).isNull()
        )
        bad = bad | unread | F.coalesce(moment(start) >= period_end(end), F.lit(False))
    return bad
