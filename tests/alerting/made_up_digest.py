"""A week of a trial's lakehouse, made up."""

from datetime import UTC, date, datetime, timedelta

from clinical_lakehouse.alerting.digest.content import (
    AlertLine,
    DigestData,
    Figure,
    Group,
    Series,
)

UNTIL = datetime(2024, 6, 30, 6, tzinfo=UTC)
_DAYS = [date(2024, 6, 3) + timedelta(days=n) for n in range(28)]


def week(**changes) -> DigestData:
    """A week in which a few things happened."""
    fields = {
        "period": "weekly", "audience": "data_manager", "since": UNTIL - timedelta(days=7),
        "until": UNTIL, "runs": 171, "failed_runs": 3,
        "figures": [
            Figure("Quality score", 0.942, 0.967, "ratio", "up", 0.95),
            Figure("Subjects enrolled", 312, 298, "people"),
            Figure("Open quarantine", 86, 41, "count", "down"),
            Figure("Model AUROC", 0.781, 0.781, "number", "up", 0.65),
        ],
        "groups": [
            Group(
                "Enrolled by site",
                {"S01": 120, "S02": 96, "S03": 61, "S04": 27, "S05": 8},
                {"S01": 117, "S02": 91, "S03": 58, "S04": 25, "S05": 7},
            )
        ],
        "alerts": [
            AlertLine("warning", "quality_score", "silver.lab_result", "firing",
                      datetime(2024, 6, 28, 4, 10, tzinfo=UTC), True),
            AlertLine("critical", "pipeline_failed", "patient_ingestion", "resolved",
                      datetime(2024, 6, 25, 22, 0, tzinfo=UTC), True),
            AlertLine("warning", "prediction_drift", "dropout_risk", "acknowledged",
                      datetime(2024, 6, 14, 6, 0, tzinfo=UTC), False),
        ],
        "series": [
            Series("Quality score, four weeks", [
                (day, 0.968 - 0.0009 * max(n - 14, 0) - 0.0008 * (n * 7 % 5) - 0.013 * (n > 24))
                for n, day in enumerate(_DAYS)
            ], "ratio", 0.95),
            Series("Records received a day", [
                (day, 9000 + 2200 * ((n * 5) % 7) / 7 - 6000 * (day.weekday() > 4))
                for n, day in enumerate(_DAYS)
            ]),
        ],
    }  # fmt: skip
    return DigestData(**{**fields, **changes})


def quiet(**changes) -> DigestData:
    """A day on which nothing happened."""
    same = [Figure("Quality score", 0.967, 0.967, "ratio", "up", 0.95)]
    return week(
        period="daily", since=UNTIL - timedelta(days=1), failed_runs=0, figures=same, groups=[],
        alerts=[], series=[], **changes,
    )  # fmt: skip
