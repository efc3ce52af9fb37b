"""The model card: TRIPOD+AI and HTI-1 answered by the run, by a person, or not yet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

RUN, PERSON, NOBODY = "run", "person", "a person must say"
Row = Mapping[str, Any]
Answers = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class CardItem:
    """One question of one document, who answered it, and what."""

    document: str
    position: int
    item: str
    asked: str
    answered_by: str
    answer: str | None


@dataclass(frozen=True)
class Predicts:
    """What conf/models says of the model: its meaning, the event, what becomes of those who end
    before the horizon, and for how many days before there must have been no event."""

    meaning: str
    event: str
    censoring: str
    prior_outcome_days: int | None = None


@dataclass(frozen=True)
class Known:
    """What conf and tables know of one version: rows of gold.model_version, model_evaluation,
    model_gate_criterion, fairness_finding and model_site."""

    version: Row
    predicts: Predicts
    figures: Sequence[Row]
    criteria: Sequence[Row]
    groups: Sequence[Row]
    sites: Sequence[Row]


def model_card(folder: Path, model_name: str, known: Known) -> list[CardItem]:
    """Every item of the documents in `folder`/documents.yml, in their order. What a person said in
    `folder`/<model_name>.yml goes before the run. SettingsError names file and line."""
    documents = read_fields(folder / "documents.yml", folder.parent).allow("documents")
    said = _said(folder / f"{model_name}.yml", documents)
    told = {"tripod_ai": tripod_ai(known), "hti1": hti1(known)}
    found = []
    for document, fields in documents.named("documents"):
        fields.allow("title", "source", "items")
        for position, (item, asked) in enumerate(fields.inner("items").content.items()):
            by_person = said.get(document, {}).get(item)
            by_run = told.get(document, {}).get(item)
            answered_by = PERSON if by_person else RUN if by_run else NOBODY
            answer = by_person or by_run
            found.append(CardItem(document, position, item, str(asked), answered_by, answer))
    return found


def _said(path: Path, documents: Fields) -> Answers:
    """A person's answers; one to an item that nobody asks is refused."""
    if not path.is_file():
        return {}
    answers = read_fields(path, path.parent.parent).allow("answers")
    asked = dict(documents.named("documents"))
    answers.inner("answers").allow(*asked)
    found = {}
    for document, given in answers.named("answers"):
        given.allow(*asked[document].inner("items").content)
        found[document] = {item: given.text(item) for item in given.content}
    return found


def tripod_ai(known: Known) -> dict[str, str]:
    """What the run can answer of the 52 parts of TRIPOD+AI's 27 items."""
    v, n = known.version, _values(known)
    said = {
        "1": f"{v['model_name']}: {_meaning(known)}",
        "4": "Development and evaluation, each version anew",
        "5b": f"Index dates {v['train_from_date']} to {v['test_to_date']} (dates are shifted)",
        "7": "gold.subject_feature from checked tables (ops.quality_result), alike for all groups",
        "8a": _outcome(known),
        "9b": f"Known at the index date: {_inputs(v)}",
        "10": "Riley's criteria before training: gold.training_decision",
        "11": "Median and an indicator, fitted inside each fold; reasons are not modelled",
        "12a": f"Trained on index dates to {v['train_to_date']}, evaluated on those from "
        f"{v['test_from_date']} on; folds by person",
        "12c": f"{v['algorithm']} {v['parameters']}, by hyperopt; a complex family wins only by "
        "net benefit with an interval above 0",
        "12d": "Recipe refitted without each site, pooled by random effects",
        "12e": "AUROC, calibration, net benefit, Brier score, with intervals by person",
        "12g": "The registered version scored each held-out row once",
        "14": "Groups and their pairs judged by calibration, rates and net benefit",
        "18f": "The suite's code version stands in ops.task_run",
        "22": f"MLflow run {v['tracking_run_id']}, version {v['model_version']}",
        "27a": "Missing input is imputed as in training; other feature definitions are refused",
    }
    said |= _performance(known, n)
    return said


def _meaning(known: Known) -> str:
    days = known.version["horizon_days"]
    return f"{known.predicts.meaning.rstrip('.')}, within {days} days"


def _outcome(known: Known) -> str:
    asked, v = known.predicts, known.version
    event = asked.event.replace("_", " ").capitalize()
    said = f"{event} within {v['horizon_days']} days after the index date; "
    if asked.censoring == "competing":
        said += "who ends before, by death or otherwise, competes and is no event"
    else:
        said += "who ends before without it is left out"
    if asked.prior_outcome_days:
        said += f"; not asked of those with one in the {asked.prior_outcome_days} days before"
    return said


def _performance(known: Known, n: Mapping[str, float]) -> dict[str, str]:
    """The items that are figures, where they could be computed."""
    v, said = known.version, {}
    if "people_with_event" in n:
        people = f"{_people(n['people_with_event'])} with and "
        people += f"{_people(n['people_without_event'])} without the outcome"
        said["20a"] = f"{v['train_row_count']} rows trained on, {v['test_row_count']} held out"
        said["21"] = f"Held out: {people}"
    if "auroc" in n:
        said["23a"] = _validity(known)
    if pooled := _pooled(known):
        said["23b"] = pooled
    if any(row["verdict"] == "failed" for row in known.criteria):
        said["26"] = "Failed criteria: " + _names(known, "failed")
    elif open_ones := _names(known, "not judged"):
        said["26"] = f"Not judged for want of people or of a champion: {open_ones}"
    return said


def hti1(known: Known) -> dict[str, str]:
    """What the run can answer of the 31 source attributes; nothing external, for it has none."""
    v, n = known.version, _values(known)
    said = {
        "1.iii": f"{_meaning(known)}, 0-1",
        "1.iv": "Prediction",
        "4.i": f"Participations with an index date {v['train_from_date']} to {v['train_to_date']} "
        "whose outcome was known and whose consent permits it",
        "4.ii": f"Inputs: {_inputs(v)}; race and ethnicity are no inputs, and judge fairness only",
        "5.i": "Groups and their pairs are judged before use; harm fails the gate",
        "5.ii": "Reweighing and thresholds by group are tried, with cost: gold.fairness_mitigation",
        "8.i": "Job model_monitoring, every two hours: gold.model_metric",
        "9.i": "Job scheduled_retraining, weekly, once Riley's criteria are met",
    }
    represented = sorted({f"{r['group_value']} {r['person_count']}" for r in known.groups
                          if r["attribute"] in ("sex", "race") and r["value"] is not None
                          and r["metric"] == "selection_rate"})  # fmt: skip
    if represented:
        said["4.iii"] = "People held out: " + ", ".join(represented)
    if "auroc" in n:
        said["7.i"] = _validity(known)
    if known.groups:
        harm = sum(row["verdict"] == "harm" for row in known.groups)
        said["7.ii"] = f"{harm} figures show harm, of {len(known.groups)} by group and pair"
    if pooled := _pooled(known):
        said["3.ii"] = f"A site it never saw may differ: {pooled}"
    return said


def _values(known: Known) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in known.figures
            if row["group_name"] == "all" and row["value"] is not None}  # fmt: skip


def _validity(known: Known) -> str:
    wanted = {"auroc": "AUROC", "calibration_slope": "calibration slope",
              "observed_expected": "O/E", "net_benefit": "net benefit"}  # fmt: skip
    return "; ".join(_with_limits(known, wanted))


def _with_limits(known: Known, wanted: Mapping[str, str]) -> Iterator[str]:
    rows = {row["metric"]: row for row in known.figures if row["group_name"] == "all"}
    for metric, name in wanted.items():
        row = rows.get(metric)
        if row is not None and row["value"] is not None:
            between = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
            yield f"{name} {row['value']:.2f}{between}"


def _pooled(known: Known) -> str:
    found = [row for row in known.sites if row["organization_key"] is None]
    return "; ".join(
        f"{row['measure'].replace('_', ' ')} {row['value']:.2f}, new site "
        f"{row['new_site_low']:.2f} to {row['new_site_high']:.2f}"
        for row in sorted(found, key=lambda row: str(row["measure"]))
    )


def _names(known: Known, verdict: str) -> str:
    found = {row["criterion"] for row in known.criteria if row["verdict"] == verdict}
    return ", ".join(sorted(found)).replace("_", " ")


def _inputs(version: Row) -> str:
    names = str(version["feature_names"]).strip("[]").replace('"', "").split(", ")
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _people(count: float) -> str:
    return "fewer than 11" if 0 < count < 11 else f"{count:.0f}"
