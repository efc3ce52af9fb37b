"""What each provision says at one moment: permit, deny or nothing, for which data and dates."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.consent_documents import (
    codes_of,
    codings_of,
    last_given,
    per_provision,
    period_end,
)
from clinical_lakehouse.ingestion.consent_policy import Policy
from clinical_lakehouse.ingestion.fields import PERIOD, moment
from clinical_lakehouse.ingestion.versions import only_newest

_TYPES = "http://hl7.org/fhir/resource-types"
_NOT_HELD = ("planned", "cancelled", "entered-in-error")


def consent_windows(consents: DataFrame, encounters: DataFrame, policy: Policy) -> DataFrame:
    """One bronze.consent_window row per person, document and provision at `policy.as_of`.

    `consents` and `encounters` are valid bronze rows. A permit's dates begin where its period does,
    unless data from before are included, or an encounter was under way: then where that began.
    """
    rules = per_provision(consents, policy)
    known = _with_rule(_with_validity(rules, policy), policy)
    kept = known.filter(F.col("rule").isNotNull()).select(
        "patient_id", "consent_id", "consent_version", "path", "consented_at",
        _at_as_of().alias("effect"), "rule", "valid_from", "valid_until",
        *_dates(policy), *_data_scope(policy),
    )  # fmt: skip
    if policy.retrospective == "always" or not policy.starts_with_encounter:
        return kept.drop("is_moved")
    return _started_with_encounter(kept, encounters)


def _with_validity(rules: DataFrame, policy: Policy) -> DataFrame:
    """When each rule is in force; without a period from the document's dateTime on."""
    period = last_given(F.col("line"), "period")
    now = F.lit(policy.as_of).cast("timestamp")
    dated = rules.withColumns(
        {
            "valid_from": F.coalesce(moment(period["start"]), F.col("consented_at")),
            "valid_until": period_end(period["end"]),
            "has_data_period": last_given(F.col("line"), "dataPeriod").isNotNull(),
        }
    )
    return dated.withColumn(
        "lapse",
        F.when(now < F.col("valid_from"), "future").when(now >= F.col("valid_until"), "expired"),
    )


def _with_rule(rules: DataFrame, policy: Policy) -> DataFrame:
    """The rule that decides what a provision says; null where it is none of this lake's business.

    A permit must name this use; a deny is left out only where it surely names another one.
    """
    is_permit, lapse = F.col("effect") == "permit", F.col("lapse")
    permit_gap, deny_gap = _first_gap(policy, True), _first_gap(policy, False)
    # A closed deny still withholds the data of its time.
    is_over = (lapse == "expired") & ~F.col("has_data_period")
    unknown = F.exists("line", lambda p: _has_unknown_code(p, policy))
    deny = (
        F.when(deny_gap.isNotNull(), None)
        .when(lapse.isNotNull() & ~is_over, lapse)
        .when(unknown, "unknown-code")
        .otherwise("deny")
    )
    gap = F.when((permit_gap == "other-code") & unknown, "unknown-code").otherwise(permit_gap)
    permit = F.coalesce(gap, lapse, F.lit("permit"))
    rule = (
        F.when(F.col("status") != "active", F.col("status"))
        .when(F.col("fault").isNotNull(), F.col("fault"))
        .when(is_permit, permit)
        .otherwise(deny)
    )
    return rules.withColumn("rule", rule)


def _at_as_of() -> Column:
    """permit, deny, or none: the document is not active or the rule is not in force."""
    is_silent = (F.col("status") != "active") | F.col("rule").isin("future", "expired")
    return (
        F.when(F.col("rule") == "permit", "permit")
        .when(is_silent, "none")
        .when(F.col("fault").isNotNull() | (F.col("effect") == "deny"), "deny")
        .otherwise("none")
    )


def _first_gap(policy: Policy, is_permit: bool) -> Column:
    """The first element by which a provision does not concern this use, null if it does."""
    gaps = F.lit(None).cast("string")
    for name in ("code", "class", "recipient", "action", "purpose"):
        gaps = F.when(~_line_concerns(name, policy, is_permit), f"other-{name}").otherwise(gaps)
    return gaps


def _line_concerns(name: str, policy: Policy, is_permit: bool) -> Column:
    return F.forall("line", lambda p: _concerns(p, name, policy, is_permit))


def _concerns(provision: Column, name: str, policy: Policy, is_permit: bool) -> Column:
    """Does the element leave this use in? Not given means everybody and everything."""
    if name == "purpose":
        given = codes_of(provision["purpose"])
        return _includes(given, policy.purposes, policy.other_purposes, is_permit)
    if name == "action":
        given = codes_of(codings_of(provision["action"]))
        return _includes(given, policy.actions, policy.other_actions, is_permit)
    if name == "recipient":
        given = _references(_actors(provision, policy, are_authors=False))
        return _includes(given, policy.recipients, (), is_permit, not policy.recipients)
    if name == "class":
        return F.lit(True) if not is_permit else ~_has_only_unknown_class(provision)
    ours = F.filter(
        codings_of(provision["code"]),
        lambda c: ~F.coalesce(c["system"], F.lit("")).isin(*policy.clinical_systems),
    )
    if is_permit:
        return _includes(codes_of(ours), policy.use_codes, (), True)
    foreign = F.forall(
        ours,
        lambda c: c["system"].isin(*policy.policy_systems) & ~c["code"].isin(*policy.use_codes),
    )
    return (F.size(codes_of(ours)) == 0) | ~F.coalesce(foreign, F.lit(False))


def _includes(
    given: Column,
    ours: tuple[str, ...],
    others: tuple[str, ...],
    is_permit: bool,
    is_anybody: bool = False,
) -> Column:
    """A permit must name one of `ours`; a deny only has to name one that is none of `others`."""
    if is_permit:
        named = F.exists(given, lambda c: c.isin(*ours))
    elif others or is_anybody:
        named = F.exists(given, lambda c: ~c.isin(*others))
    else:
        named = F.exists(given, lambda c: c.isin(*ours))
    return (F.size(given) == 0) | named


def _has_unknown_code(provision: Column, policy: Policy) -> Column:
    known = (*policy.policy_systems, *policy.clinical_systems)
    return F.coalesce(
        F.exists(
            codings_of(provision["code"]),
            lambda c: (
                ~F.coalesce(c["system"], F.lit("")).isin(*known)
                & ~F.coalesce(c["code"], F.lit("")).isin(*policy.use_codes)
            ),
        ),
        F.lit(False),
    )


def _has_only_unknown_class(provision: Column) -> Column:
    given = provision["class"]
    known = F.exists(given, lambda c: c["system"].eqNullSafe(F.lit(_TYPES)))
    return F.coalesce(~known, F.lit(False))


def _actors(provision: Column, policy: Policy, are_authors: bool) -> Column:
    """Actors who wrote the data, or who would receive them; custodians are neither."""

    def fits(actor: Column) -> Column:
        roles = codes_of(actor["role"]["coding"])
        is_author = F.exists(roles, lambda r: r.isin(*policy.author_roles))
        is_custodian = F.exists(roles, lambda r: r.isin(*policy.custodian_roles))
        return is_author if are_authors else ~is_author & ~is_custodian

    return F.filter(provision["actor"], fits)


def _references(things: Column) -> Column:
    found = F.transform(things, lambda t: F.coalesce(t["reference"]["reference"], F.lit("")))
    return F.coalesce(found, F.array().cast("array<string>"))


def _dates(policy: Policy) -> list[Column]:
    """starts_at and ends_at of the data a provision is about, null for no bound; and is_moved."""
    period = F.coalesce(
        last_given(F.col("line"), "dataPeriod"),
        F.from_json(F.lit("{}"), PERIOD),
    )
    is_permit, has_own = F.col("rule") == "permit", F.col("has_data_period")
    reaches_back = _reaches_back(policy)
    is_past = (F.col("rule") == "deny") & (F.col("lapse") == "expired")
    begins = (is_permit & ~reaches_back) | F.coalesce(is_past, F.lit(False))
    faultless = F.col("fault").isNull()
    starts = F.when(has_own, moment(period["start"])).when(begins, F.col("valid_from"))
    ends = F.when(has_own, period_end(period["end"])).when(is_past, F.col("valid_until"))
    return [
        F.when(faultless, starts).alias("starts_at"),
        F.when(faultless, ends).alias("ends_at"),
        (is_permit & ~has_own & ~reaches_back).alias("is_moved"),
    ]


def _reaches_back(policy: Policy) -> Column:
    """Are data from before the document included? By setting, or because the document says so."""
    if policy.retrospective != "coded":
        return F.lit(policy.retrospective == "always")
    now = F.lit(policy.as_of).cast("timestamp")

    def says_so(node: Column) -> Column:
        period = last_given(node["line"], "period")
        own = F.get(F.reverse(node["line"]), F.lit(0))
        named = F.exists(
            codes_of(codings_of(own["code"])), lambda c: c.isin(*policy.retrospective_codes)
        )
        begun = F.coalesce(moment(period["start"]) <= now, F.lit(True))
        ended = F.coalesce(period_end(period["end"]) <= now, F.lit(False))
        return (node["effect"] == "permit") & named & begun & ~ended

    return F.coalesce(F.exists("nodes", says_so), F.lit(False))


def _data_scope(policy: Policy) -> list[Column]:
    """resource_types, labels and mentions: which resources; a permit is bound by its line's too."""
    own = F.slice("line", -1, 1)
    line = F.when(F.col("effect") == "permit", F.col("line")).otherwise(own)
    given = last_given(line, "class")
    typed = F.filter(given, lambda c: c["system"].eqNullSafe(F.lit(_TYPES)))
    # A deny of a class nobody knows is a deny of all; a permit of one is void.
    is_known = (F.col("effect") == "permit") | (F.size(typed) == F.size(given))
    types = F.when(given.isNotNull() & is_known, codes_of(typed))
    labelled = last_given(line, "securityLabel")
    labels = F.when(labelled.isNotNull(), codes_of(labelled))
    groups = F.flatten(F.transform(line, lambda p: _mentions(p, policy)))
    mentions = F.filter(groups, lambda g: F.size(g) > 0)
    scope = {
        "resource_types": types,
        "labels": labels,
        "mentions": F.when(F.size(mentions) > 0, mentions),
    }
    faultless = F.col("fault").isNull()
    return [F.when(faultless, made).alias(name) for name, made in scope.items()]


def _mentions(provision: Column, policy: Policy) -> Column:
    """Groups of quoted references and codes; a resource is meant that holds one of each group."""
    authors = _references(_actors(provision, policy, are_authors=True))
    clinical = F.filter(
        codings_of(provision["code"]),
        lambda c: c["system"].isin(*policy.clinical_systems),
    )
    groups = (authors, codes_of(clinical), _references(provision["data"]))
    quote = F.lit('"')
    return F.array(*(F.transform(g, lambda text: F.concat(quote, text, quote)) for g in groups))


def _started_with_encounter(windows: DataFrame, encounters: DataFrame) -> DataFrame:
    """A permit's start moved to that of the first encounter that was under way then."""
    key = ("patient_id", "consent_id", "path")
    read = only_newest(encounters).withColumn(
        "r", F.from_json("content", f"status STRING, period {PERIOD}")
    )
    held = read.filter(~F.col("r.status").isin(*_NOT_HELD)).select(
        "patient_id",
        moment(F.col("r.period.start")).alias("began_at"),
        period_end(F.col("r.period.end")).alias("left_at"),
    )
    moved = windows.filter("is_moved").select(*key, "starts_at").join(held, "patient_id")
    inside = (F.col("began_at") < F.col("starts_at")) & F.coalesce(
        F.col("starts_at") < F.col("left_at"), F.lit(True)
    )
    earlier = moved.filter(inside).groupBy(*key).agg(F.min("began_at").alias("began_at"))
    joined = windows.join(earlier, list(key), "left")
    return joined.withColumn("starts_at", F.coalesce("began_at", "starts_at")).drop(
        "began_at", "is_moved"
    )
