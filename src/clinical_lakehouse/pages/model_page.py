"""The page of one model: what is in use and why, how it fares and for whom, what has moved."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.pages import monitoring_sections as sections
from clinical_lakehouse.pages.asking import Answer, Question, ask
from clinical_lakehouse.pages.group_sections import for_whom
from clinical_lakehouse.pages.revision_sections import revisions
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.page import Page
from clinical_lakehouse.runtime.lake import Lakehouse

_DEPLOYED, _WATCHED = "model_deployment", "model_performance_monitoring"
_DRIFTED = "data_drift_detection"
_FIRST = {
    "promotions": Question(
        _DEPLOYED,
        """SELECT promotion_number, action, from_version, to_version, decided_by, role, meaning,
       reason, coalesce(cause, '') AS cause, decided_at
FROM gold.model_promotion WHERE model_name = :model ORDER BY promotion_number DESC LIMIT 50""",
    ),
}
_QUESTIONS = {
    "gates": Question(
        "model_evaluation",
        """SELECT model_version, is_passed, reason, decided_at FROM gold.model_gate
WHERE model_name = :model ORDER BY model_version DESC LIMIT 20""",
    ),
    "approvals": Question(
        "model_review",
        """SELECT model_version, decided_by, role, meaning, reason, decided_at
FROM gold.model_approval WHERE model_name = :model ORDER BY decided_at DESC LIMIT 50""",
    ),
    "canary": Question(
        _DEPLOYED,
        """SELECT model_version, looked_at, state, share_ratio, subject_count, outcome_count,
       difference, low, high, reason
FROM gold.model_canary WHERE model_name = :model ORDER BY looked_at DESC LIMIT 60""",
    ),
    "triggers": Question(
        "scheduled_retraining",
        """SELECT decided_at, is_due, trigger, coalesce(alert, '') AS alert, reason
FROM gold.retraining_trigger WHERE model_name = :model ORDER BY decided_at DESC LIMIT 20""",
    ),
    "performance": Question(
        _WATCHED,
        """SELECT population, metric, window_start_date, window_end_date, value, low, high,
       row_count, event_count
FROM gold.model_performance WHERE model_name = :model AND model_version = :version
ORDER BY metric, population, window_end_date""",
    ),
    "groups": Question(
        _WATCHED,
        """SELECT attribute, group_value, metric, window_start_date, window_end_date, value, low,
       high, is_over_limit, is_changed, row_count, event_count
FROM gold.group_performance WHERE model_name = :model AND model_version = :version
ORDER BY attribute, group_value, metric, window_end_date""",
    ),
    "revisions": Question(
        _WATCHED,
        """SELECT population, metric, window_end_date, count(*) AS said_count,
       min_by(value, known_at) AS first_value, min(known_at) AS first_known_at,
       max_by(value, known_at) AS value, max(known_at) AS known_at
FROM gold.performance_revision
WHERE model_name = :model AND model_version = :version
      AND population IN ('all', 'untreated', 'hold_out')
GROUP BY population, metric, window_end_date HAVING count(*) > 1
ORDER BY window_end_date DESC, metric, population LIMIT 40""",
    ),
    "verdicts": Question(
        _WATCHED,
        """SELECT window_start_date, window_end_date, verdict, advice, row_count, treated_count,
       due_count, arrived_count, overdue_count, censored_count
FROM gold.performance_verdict WHERE model_name = :model AND model_version = :version
ORDER BY window_end_date DESC""",
    ),
    "detectors": Question(
        _WATCHED,
        """SELECT detector, value_count, signal_count, signal_date, last_index_date
FROM gold.change_detector WHERE model_name = :model AND model_version = :version
ORDER BY detector""",
    ),
    "drift": Question(
        _DRIFTED,
        """WITH last AS (SELECT max(window_end_date) AS day FROM gold.data_drift
              WHERE model_name = :model AND model_version = :version)
SELECT reference, feature_name, site, state, kind, psi, p_value, is_model_input, row_count,
       explanation, window_start_date, window_end_date
FROM gold.data_drift JOIN last ON window_end_date = day
WHERE model_name = :model AND model_version = :version
ORDER BY state = 'stable', is_model_input DESC, psi DESC""",
    ),
}


def write_model_page(lake: Lakehouse, model: str, as_of: datetime, out: Path) -> Path:
    """Write a model's page to the file `out` and return its path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(render(model_page(model, model_answers(lake, model), as_of)))
    return out


def model_answers(lake: Lakehouse, model: str) -> dict[str, Answer]:
    """What the lake says of a model and its version in use, by name of the question."""
    first = ask(lake, _FIRST, {"model": model})
    version = in_use(first["promotions"])
    return {**first, **ask(lake, _QUESTIONS, {"model": model, "version": version or 0})}


def in_use(promotions: Answer) -> int | None:
    """The version in use: that of the last promotion."""
    return promotions.rows[0]["to_version"] if promotions.rows else None


def model_page(model: str, answers: Mapping[str, Answer], as_of: datetime) -> Page:
    """The page from its answers, what it means first."""
    version = in_use(answers["promotions"])
    subtitle = f"Version {version} is in use" if version else "No version is in use yet"
    found = (
        sections.standing(answers["verdicts"], answers["detectors"], answers["drift"]),
        sections.performance(answers["performance"], answers["verdicts"]),
        revisions(answers["revisions"]),
        for_whom(answers["groups"]),
        sections.detectors(answers["detectors"]),
        sections.data_drift(answers["drift"]),
        sections.deployment(answers["promotions"], answers["canary"]),
        sections.decisions(answers["gates"], answers["approvals"], answers["triggers"]),
    )
    return Page(f"Model {model}", subtitle, as_of, "page", found, ("People below 11 not shown",))
