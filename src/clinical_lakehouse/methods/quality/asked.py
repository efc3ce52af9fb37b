"""What is asked of one table: its checks, the figures others want of it, how its rows are split."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clinical_lakehouse.methods.quality.schema_drift import Drift
from clinical_lakehouse.methods.quality.sql_names import column_names
from clinical_lakehouse.tables.contract import Check, Lookup, Measure, Severity, Table

SCHEMA = Check("schema_as_contract", "true", Severity.ERROR, "table", kind="schema", high=0)
# A person's site and study: those of the trial they are (first) subjects of.
_PEOPLE = ("subject_key", "person_id")
_SITE_AND_STUDY = (("_site", "min(organization_key)"), ("_study", "min(study_key)"))
SLICES = ("site", "study", "source")
# The parts of a table's answer: what is summed over slices, keys that repeat, what only the whole
# table says.
SUMS, KEYS, WHOLE = "sums", "keys", "whole"


@dataclass(frozen=True)
class Asked:
    """One table with everything that one look at it must answer."""

    table: Table
    checks: tuple[Check, ...]
    unasked: tuple[Check, ...] = ()
    measures: tuple[Measure, ...] = ()
    drift: Drift = Drift()

    def of_scope(self, *scopes: str) -> list[Check]:
        """The checks of these scopes, in the table's order."""
        return [check for check in self.checks if check.scope in scopes]

    def denominators(self) -> list[str]:
        """The filters whose rows are counted; the first counts all rows."""
        wanted = [check.where for check in self.of_scope("row", "reference", "key")]
        return list(dict.fromkeys(["true", *wanted]))

    def lookups(self) -> list[Lookup]:
        """Each other table once per key and filter, with all that is taken from it."""
        merged: dict[tuple[object, ...], Lookup] = {}
        slices = (_slice_lookup(self.table),) if _slice_lookup(self.table) else ()
        found = [look for check in self.checks for look in looked_up(check)]
        for look in (*found, *(one for one in slices if one)):
            place = (look.table, look.on, look.where)
            known = merged.get(place, replace(look, takes=()))
            merged[place] = replace(known, takes=tuple(dict.fromkeys((*known.takes, *look.takes))))
        return list(merged.values())

    def slices(self) -> dict[str, str]:
        """SQL of the row's site, study and source; null where the table does not say."""
        has_people = _slice_lookup(self.table) is not None
        of_file = "file_name" in self.table.column_names
        return {
            "site": "CAST(_site AS STRING)" if has_people else "CAST(NULL AS STRING)",
            "study": "CAST(_study AS STRING)" if has_people else "CAST(NULL AS STRING)",
            "source": "split_part(file_name, '/', 1)" if of_file else "CAST(NULL AS STRING)",
        }


def asked(
    tables: Iterable[Table], given: Mapping[str, Sequence[Check]], drifts: Mapping[str, Drift]
) -> list[Asked]:
    """What is asked of each table that is made (those of `drifts`): its contract's checks, then
    conf's. A check whose column is gone cannot be asked."""
    judged = {t.name: t for t in tables if t.name in drifts}
    split = {
        name: _split((*_schema_of(given.get(name, ())), *table.all_checks(), *given.get(name, ())),
                     drifts[name])
        for name, table in judged.items()
    }  # fmt: skip
    wanted: dict[str, dict[Measure, None]] = {name: {} for name in judged}
    for name, (own, _) in split.items():
        for measure in (m for check in own for m in (check.measure, check.against) if m):
            wanted.setdefault(measure.table or name, {})[replace(measure, table="")] = None
    return [
        Asked(table, *split[name], tuple(wanted[name]), drifts[name])
        for name, table in judged.items()
    ]


def _split(checks: Sequence[Check], drift: Drift) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """Checks that can be asked, and those that cannot."""
    gone = set(drift.dropped)
    can = tuple(check for check in checks if not gone & needed_columns(check))
    return can, tuple(check for check in checks if check not in can)


def _schema_of(given: Sequence[Check]) -> Iterator[Check]:
    """Every table is held against its contract, once; conf may say how grave a difference is."""
    if not any(check.kind == "schema" for check in given):
        yield SCHEMA


def found_name(check: Check) -> str:
    """What a reference's answer is called among the row's columns."""
    return f"_found_{replace(check, severity=Severity.WARN, where='true').version}"


def looked_up(check: Check) -> tuple[Lookup, ...]:
    """The lookups of a check; a reference is one that counts."""
    if check.refers is None:
        return check.lookups
    own, other, key = check.refers
    takes = ((found_name(check), "count(1)"),)
    return (*check.lookups, Lookup(other, ((own, key),), takes, check.refers_where))


def failing_predicate(check: Check) -> str:
    """SQL of a row that fails; null counts as passed."""
    if check.refers is not None:
        return (
            f"({check.where}) AND `{check.refers[0]}` IS NOT NULL AND {found_name(check)} IS NULL"
        )
    return f"({check.where}) AND NOT ({check.predicate})"


def needed_columns(check: Check) -> set[str]:
    """Own columns without which the check cannot be judged."""
    texts = [check.where, check.measure.expression if check.measure else ""]
    texts += [check.predicate if check.scope in ("row", "key") else ""]
    named = {name for text in texts for name in column_names(text)}
    looked = [own for look in looked_up(check) for own, _ in look.on]
    return (named - {name for look in check.lookups for name, _ in look.takes}) | set(looked)


def _slice_lookup(table: Table) -> Lookup | None:
    person = next((name for name in _PEOPLE if name in table.column_names), None)
    if person is None:
        return None
    return Lookup("silver.subject", ((person, "subject_key"),), _SITE_AND_STUDY)
