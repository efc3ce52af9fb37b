"""Simulated trials as monitoring sees them, without a lake: shifted dates, weekly risks."""

import random
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clinical_lakehouse.methods import discrimination
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring.performance import AccuracyLimit, judged, window_figures
from clinical_lakehouse.monitoring.population import Judgement, monthly
from clinical_lakehouse.monitoring.windows import WINDOW_DAYS, index_dates
from clinical_lakehouse.simulation.person import draw_person
from clinical_lakehouse.simulation.plan import TrialPlan, months_after
from clinical_lakehouse.simulation.sites import make_sites

MARGIN, HORIZON = 30, 90
INPUTS = ["age_years", "phq9_baseline", "hba1c_baseline"]


@dataclass(frozen=True)
class Watched:
    """One trial's metric rows and the planted dates."""

    performance: list[dict]
    population: list[dict]
    concept_from: date
    drift_from: date


def watch_trial(seed: int, margin: int = MARGIN) -> Watched:
    """300 subjects over 12 months, dates shifted per person; a logistic model trained on the first
    eight months as the demo trains; then what monitoring measures at the end."""
    plan = TrialPlan(seed=seed)
    people = _people(plan, margin)
    trained_until = months_after(plan.start, plan.drift_month + 1)
    rows = _weekly(people, plan.end)
    model, held_out, trained_to = _train(rows, trained_until - timedelta(days=margin))
    rows["score"] = model.predict_proba(rows[INPUTS])[:, 1]
    limit = AccuracyLimit(_held_out_auroc(model, held_out), 0.05)
    figures = []
    for day in index_dates(trained_until, plan.end, margin):
        at_risk = rows[rows["index_date"] == pd.Timestamp(day)]
        event = _leaves_within(at_risk, WINDOW_DAYS).to_numpy()
        for figure in window_figures(event, at_risk["score"].to_numpy(), HORIZON, 0.99):
            counts = {"row_count": len(event), "event_count": int(event.sum())}
            figures.append({**figure, **counts, "index_date": day})
    first = rows.groupby("subject").first()
    first.loc[first["index_date"] <= trained_to, "score"] = np.nan
    first["enrolled_date"] = first["start"]
    moved = monthly(first, trained_until, plan.end, Judgement(0.2, 0.99, margin))
    return Watched(judged(figures, limit), moved, plan.concept_from, plan.drift_interval[0])


def _people(plan: TrialPlan, margin: int) -> pd.DataFrame:
    sites, days = make_sites(plan.sites), plan.enrolment_days()
    draws = random.Random(plan.seed)
    offsets = [day for day in range(-margin, margin + 1) if day] or [0]
    rows = []
    for index in range(plan.patients):
        who = draw_person(plan, sites, days, index)
        shift = timedelta(days=draws.choice(offsets))
        left = who.dropout or who.death
        rows.append(
            {
                "subject": index,
                "start": pd.Timestamp(who.randomised + shift),
                "end": pd.Timestamp(left + shift) if left else pd.Timestamp.max,
                "withdrew": who.dropout is not None,
                "age_years": min(who.measured.age, 90),
                "phq9_baseline": float(who.measured.phq9),
                "hba1c_baseline": who.measured.hba1c,
            }
        )
    return pd.DataFrame(rows)


def _weekly(people: pd.DataFrame, until: date) -> pd.DataFrame:
    mondays = pd.date_range(people["start"].min(), pd.Timestamp(until), freq="W-MON")
    crossed = people.merge(pd.DataFrame({"index_date": mondays}), how="cross")
    on_study = (crossed["start"] <= crossed["index_date"]) & (
        crossed["index_date"] < crossed["end"]
    )
    return crossed[on_study].sort_values(["subject", "index_date"], ignore_index=True)


def _leaves_within(rows: pd.DataFrame, days: int) -> pd.Series:
    return rows["withdrew"] & (rows["end"] <= rows["index_date"] + pd.Timedelta(days=days))


def _train(rows: pd.DataFrame, last_day: date) -> tuple:
    """Fit on the first 70% of the index dates whose horizon is known; the rest is held out."""
    horizon = pd.Timedelta(days=HORIZON)
    known = rows[rows["index_date"] + horizon <= pd.Timestamp(last_day)]
    dates = np.sort(known["index_date"].unique())
    cut = dates[int(len(dates) * 0.7)]
    train, held_out = known[known["index_date"] < cut], known[known["index_date"] >= cut]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3))
    model.fit(train[INPUTS], _leaves_within(train, HORIZON))
    return model, held_out, train["index_date"].max()


def _held_out_auroc(model, held_out: pd.DataFrame) -> Interval | None:
    scores = model.predict_proba(held_out[INPUTS])[:, 1]
    return discrimination.auroc(_leaves_within(held_out, HORIZON), scores, held_out["subject"])
