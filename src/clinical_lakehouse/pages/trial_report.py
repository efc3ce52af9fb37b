"""The trial report: one page for a study team, made from the lake's tables alone."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.pages import (
    card_sections,
    model_review_sections,
    model_sections,
    operation_sections,
    survival_sections,
    trial_questions,
    trial_sections,
)
from clinical_lakehouse.pages.asking import Answer, Row, ask
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.rendering import figures
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.lineage import Step
from clinical_lakehouse.rendering.page import Empty, Page, Section, Source, Tile, Tiles
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.settings import Settings

Lineage = Sequence[tuple[str, Sequence[str], Sequence[str]]]
Answers = Mapping[str, Answer]


def write_report(
    lake: Lakehouse,
    settings: Settings,
    as_of: datetime,
    run_id: str,
    out: Path,
    *,
    lineage: Lineage | None = None,
) -> Path:
    """Write the report to the file `out` and return its path.

    Lineage is (task, names of tables read, of tables written); that of the registry by default.
    """
    declared = _declared() if lineage is None else lineage
    steps = [Step(task, tuple(reads), tuple(writes)) for task, reads, writes in declared]
    answers = _ask(lake, settings, as_of)
    page = trial_page(answers, settings, as_of, run_id, steps)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(render(page))
    return out


def _declared() -> Lineage:
    return [
        (name, [table.name for table in one.reads], [table.name for table in one.writes])
        for name, one in tasks().items()
    ]


def _ask(lake: Lakehouse, settings: Settings, as_of: datetime) -> Answers:
    """All answers; those about the model are asked of the version in use."""
    model = settings.model.name
    first = ask(lake, trial_questions.FIRST, {"model": model})
    version = version_in_use(first)
    values = {"model": model, "version": version or 0, "as_of": as_of.date().isoformat()}
    return {**first, **ask(lake, trial_questions.OF_VERSION, values)}


def version_in_use(answers: Answers) -> int | None:
    """The version that scored last, else the newest that passed its gate, else the newest."""
    scored = [row["model_version"] for row in answers["scored"].rows]
    passed = [row["model_version"] for row in answers["gates"].rows if row["is_passed"]]
    newest = [row["model_version"] for row in answers["versions"].rows]
    return next(iter([*scored[:1], *passed[:1], *newest[:1]]), None)


def trial_page(
    answers: Answers, settings: Settings, as_of: datetime, run_id: str, steps: Sequence[Step]
) -> Page:
    """The page from its answers: what needs a person first."""
    limits = settings.limits
    wanted = ("alerts", "tasks", "gates", "received", "quality")
    sections = (
        operation_sections.needs_a_person(*(answers[name] for name in wanted)),
        _headline(answers, settings),
        trial_sections.enrolment(answers["enrolment"]),
        trial_sections.receipt(answers["received"], answers["reasons"]),
        trial_sections.quality(answers["quality"], limits.quality_score_min),
        model_sections.discrimination(answers["evaluation"], answers["curves"]),
        model_review_sections.gate(
            answers["criteria"], answers["comparison"], answers["decisions"]
        ),
        model_sections.fairness(answers["evaluation"]),
        model_review_sections.groups(answers["groups"], answers["mitigation"]),
        model_review_sections.sites(answers["sites"]),
        survival_sections.staying(answers["survival"], answers["survival_figures"]),
        model_sections.over_time(answers["metrics"], limits.accuracy_drop_max),
        operation_sections.alerts_table(answers["alerts"]),
        operation_sections.run_times(answers["tasks"]),
        operation_sections.way_of_the_data(steps),
        card_sections.card(answers["card"]),
    )
    return Page(
        "Trial report",
        _subtitle(answers["study"]),
        as_of,
        run_id,
        sections,
        ("Blinded: no treatment arm", "People below 11 not shown"),
    )


def _subtitle(study: Answer) -> str:
    if not study.rows:
        return "No study is in the lake yet"
    first = study.rows[0]
    phase = f", {first['phase_code'].replace('-', ' ')}" if first["phase_code"] else ""
    more = f", and {len(study.rows) - 1} more studies" if len(study.rows) > 1 else ""
    return f"{first['title'] or 'Study without a title'}{phase}{more}"


def _headline(answers: Answers, settings: Settings) -> Section:
    lead = "The state of the trial, its data and its model."
    tiles = [
        *_subject_tiles(answers["enrolment"]),
        *_data_tiles(answers["received"]),
        *_quality_tiles(answers["quality"], settings.limits.quality_score_min),
        *_model_tiles(answers, settings),
        *_alert_tiles(answers["alerts"]),
    ]
    if not tiles:
        empty = Empty("No figures yet", "Run the demo, or clinical-lakehouse run patient_ingestion")
        return Section("At a glance", lead, (empty,))
    wanted = ("enrolment", "received", "quality", "scored", "evaluation", "alerts")
    asked = [answers[name].source for name in wanted if answers[name].rows]
    statements = tuple(text for source in asked for text in source.statements)
    values = {name: value for source in asked for name, value in source.values.items()}
    return Section("At a glance", lead, (Tiles(tuple(tiles), Source(statements, values)),))


def _subject_tiles(enrolment: Answer) -> list[Tile]:
    if not enrolment.rows:
        return []
    sites = trial_sections.standing(enrolment.rows).values()
    total = {
        part: sum(site[part] for site in sites) for part in ("enrolled", "active", "withdrawn")
    }
    share = figures.percent(total["withdrawn"] / total["enrolled"])
    return [
        Tile("Subjects enrolled", figures.people(total["enrolled"]), f"at {len(sites)} sites"),
        Tile("In the trial", figures.people(total["active"]), "on study or in follow-up"),
        Tile("Dropped out", figures.people(total["withdrawn"]), f"{share} of those enrolled"),
    ]


def _data_tiles(received: Answer) -> list[Tile]:
    if not received.rows:
        return []
    parts = ("received", "loaded", "quarantined", "duplicate")
    total = {part: sum(row[f"{part}_count"] for row in received.rows) for part in parts}
    lost = total["received"] - total["loaded"] - total["quarantined"] - total["duplicate"]
    refused = figures.percent(total["quarantined"] / max(total["received"], 1), 2)
    account = "every one accounted for" if not lost else f"{figures.count(lost)} not accounted for"
    duplicate = f"{figures.count(total['duplicate'])} duplicates besides"
    return [
        Tile("Resources received", figures.count(total["received"]), account,
             "bad" if lost else "plain"),
        Tile("Loaded", figures.count(total["loaded"]), duplicate),
        Tile("Quarantined", figures.count(total["quarantined"]), f"{refused} of those received"),
    ]  # fmt: skip


def _quality_tiles(quality: Answer, lowest: float) -> list[Tile]:
    scores = trial_sections.scores(quality.rows)
    if not scores:
        return []
    below = sum(score < lowest for score in scores.values())
    mean = sum(scores.values()) / len(scores)
    detail = f"{below} of {len(scores)} tables below {lowest:.0%}"
    tone = "watch" if below else "good"
    return [Tile("Quality score", figures.percent(mean), detail, tone)]


def _model_tiles(answers: Answers, settings: Settings) -> list[Tile]:
    version = version_in_use(answers)
    if version is None:
        return []
    known = {row["model_version"]: row for row in answers["versions"].rows}
    scored = {row["model_version"] for row in answers["scored"].rows}
    algorithm = (known.get(version) or {}).get("algorithm") or "algorithm not recorded"
    label = "Champion model" if version in scored else "Newest model, not in use"
    tiles = [Tile(label, f"v{version}", f"{settings.model.name}, {algorithm}")]
    found = _whole(answers["evaluation"].rows, "auroc")
    if found:
        limits = figures.interval(found["low"], found["high"])
        against = f"{limits}; baseline {figures.number(found['baseline'])}"
        tone = "good" if (found["value"] or 0) >= settings.model.gate_auroc_min else "bad"
        tiles.append(Tile("AUROC, held out", figures.number(found["value"]), against, tone))
    return tiles


def _whole(rows: Sequence[Row], metric: str) -> Row | None:
    return next((r for r in rows if r["metric"] == metric and r["group_name"] == "all"), None)


def _alert_tiles(alerts: Answer) -> list[Tile]:
    if alerts.missing:
        return []
    states = {row["state"]: row["state_count"] for row in alerts.rows if row["state"] != "resolved"}
    total = sum(states.values())
    detail = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return [Tile("Open alerts", figures.count(total), detail or "none", "bad" if total else "good")]
