"""The page of data quality: what fails now and where, since when, and how it has moved."""

from datetime import UTC, datetime
from pathlib import Path

from clinical_lakehouse.pages import quality_sections as sections
from clinical_lakehouse.pages.asking import Answer, Question, Row, ask
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.page import Page
from clinical_lakehouse.runtime.lake import Lakehouse

_JOB = "data_quality"
_LATEST = Question(
    _JOB,
    """SELECT max_by(run_id, struct(checked_at, run_id)) AS run_id, max(checked_at) AS checked_at
FROM ops.quality_score""",
)
_QUESTIONS = {
    "scores": Question(
        _JOB,
        """SELECT dimension, slice, score, check_count, failed_check_count
FROM ops.quality_score WHERE run_id = :run ORDER BY dimension, score, slice""",
    ),
    "states": Question(
        _JOB,
        """SELECT category, kind, state, count(*) AS check_count FROM (
  SELECT category, kind, state FROM ops.quality_result WHERE run_id = :run
  UNION ALL SELECT category, kind, state FROM ops.quality_table_result WHERE run_id = :run)
GROUP BY category, kind, state ORDER BY category, kind, state""",
    ),
    "failing": Question(
        _JOB,
        """SELECT table_name, check_name, severity, kind, row_count, failed_count, passed_ratio,
       max_failed_ratio, state, owner, rule_version, sample_keys,
       count(*) OVER () AS all_count
FROM ops.quality_result WHERE run_id = :run AND state IN ('failed', 'not_judged')
ORDER BY array_position(array('fatal', 'error', 'warn'), severity), passed_ratio, table_name,
         check_name LIMIT 40""",
    ),
    "whole": Question(
        _JOB,
        """SELECT table_name, check_name, severity, kind, state, measured, against, low, high,
       detail
FROM ops.quality_table_result WHERE run_id = :run AND (state <> 'passed' OR kind <> 'schema')
ORDER BY state = 'passed', table_name, check_name LIMIT 80""",
    ),
    "steps": Question(
        _JOB,
        """SELECT table_name, check_name, dimension, slice, value, usual, spread, point_count
FROM ops.quality_step WHERE run_id = :run
ORDER BY abs(value - usual) / greatest(spread, 1e-9) DESC, table_name, check_name LIMIT 60""",
    ),
    "runs": Question(
        _JOB,
        """SELECT count(DISTINCT run_id) AS run_count FROM ops.quality_score
WHERE checked_at <= :until""",
    ),
    "history": Question(
        _JOB,
        """SELECT dimension, slice, date_trunc('day', checked_at) AS day,
       max_by(score, checked_at) AS score
FROM (SELECT dimension, 'All tables' AS slice, checked_at, avg(score) AS score
      FROM ops.quality_score WHERE dimension = 'table' AND checked_at <= :until
      GROUP BY dimension, checked_at
      UNION ALL SELECT dimension, slice, checked_at, score
      FROM ops.quality_score WHERE dimension = 'site' AND checked_at <= :until)
WHERE checked_at > :since
GROUP BY dimension, slice, day ORDER BY dimension, slice, day""",
    ),
    "trends": Question(
        _JOB,
        """WITH worst AS (
  SELECT table_name, check_name, rule_version FROM ops.quality_result
  WHERE run_id = :run AND state = 'failed'
  ORDER BY array_position(array('fatal', 'error', 'warn'), severity), passed_ratio, table_name,
           check_name LIMIT 6)
SELECT table_name, check_name, date_trunc('day', checked_at) AS day,
       max_by(1 - passed_ratio, checked_at) AS failed_ratio
FROM ops.quality_result JOIN worst USING (table_name, check_name, rule_version)
WHERE checked_at > :since AND checked_at <= :until
GROUP BY table_name, check_name, day ORDER BY table_name, check_name, day""",
    ),
    "open": Question(
        _JOB,
        """SELECT owner, severity, count(*) AS row_count, min(first_seen_at) AS oldest_at,
       count(DISTINCT table_name, check_name) AS check_count
FROM ops.quality_failure WHERE is_failing GROUP BY owner, severity
ORDER BY array_position(array('fatal', 'error', 'warn'), severity), owner LIMIT 60""",
    ),
}


def write_quality_page(lake: Lakehouse, lowest: float, out: Path) -> Path:
    """Write the latest run's page to the file `out` and return its path; `lowest` is the score
    below which it alerts. A lake that was never judged gets a page that says so."""
    first = ask(lake, {"latest": _LATEST}, {})["latest"]
    latest = first.rows[0] if first.rows else {"run_id": None, "checked_at": None}
    at = latest["checked_at"] or datetime.fromtimestamp(0, UTC)
    values = {
        "run": latest["run_id"] or "",
        "until": at.isoformat(sep=" "),
        "since": _a_year_before(at).isoformat(sep=" "),
    }
    page = quality_page(latest, ask(lake, _QUESTIONS, values), lowest)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(render(page))
    return out


def quality_page(latest: Row, answers: dict[str, Answer], lowest: float) -> Page:
    """The page from its answers: what fails first, then where, then since when."""
    parts = (
        sections.at_a_glance(answers["scores"], answers["states"], answers["open"], lowest),
        sections.failing(answers["failing"], answers["open"]),
        sections.steps(answers["steps"], answers["runs"]),
        sections.over_time(answers["history"], answers["trends"], lowest),
        sections.side_by_side(answers["scores"], lowest),
        sections.whole_tables(answers["whole"]),
    )
    run_id = latest["run_id"] or "none"
    at = latest["checked_at"] or datetime.fromtimestamp(0, UTC)
    subtitle = "Tables judged by their contracts and by conf/quality"
    return Page("Data quality", subtitle, at, run_id, parts, ("No value of a row is shown",))


def _a_year_before(at: datetime) -> datetime:
    return at.replace(year=at.year - 1, day=min(at.day, 28))
