"""Time to discontinuation: curves, groups compared, and a Cox model judged on later people."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from clinical_lakehouse.methods.intervals import Floats
from clinical_lakehouse.methods.small_cells import SMALLEST_CELL
from clinical_lakehouse.methods.survival import (
    Curve,
    brier_at,
    cumulative_incidence,
    harrell_c,
    kaplan_meier,
    log_rank,
    risk_of_own_cause,
    uno_c,
)
from clinical_lakehouse.training.families import CORE
from clinical_lakehouse.training.follow_up import DEATH, DROPOUT
from clinical_lakehouse.training.split import time_cut

Row = Mapping[str, Any]
ENDPOINT = "time_to_discontinuation"
_FEWEST_EVENTS = 20  # to fit on, and five to judge by
_MOST_PEOPLE = 5000  # to judge by: concordance looks at every pair
_RIDGE = 0.01  # keeps a coefficient finite where an input separates


@dataclass(frozen=True)
class Cox:
    """A fitted cause-specific Cox model: hazard ratios per standard deviation, and risks."""

    fitted: Any
    centre: pd.Series
    scale: pd.Series

    def ratios(self) -> Iterator[tuple[str, float, float, float, float]]:
        """Input, hazard ratio, 95% limits and p value."""
        summary = self.fitted.summary
        for name, row in summary.iterrows():
            low, high = (row[f"exp(coef) {side} 95%"] for side in ("lower", "upper"))
            yield str(name), float(row["exp(coef)"]), float(low), float(high), float(row["p"])

    def hazards(self, rows: pd.DataFrame, times: Floats) -> Floats:
        """Cumulative hazard at each time (rows) of each person (columns)."""
        inputs = _filled(rows, self.centre, self.scale)
        found = self.fitted.predict_cumulative_hazard(inputs, times=times)
        return np.asarray(found.to_numpy(), dtype=float)

    def times_until(self, horizon: float) -> Floats:
        """Days from 0 to the horizon on which the hazard rises."""
        known = self.fitted.baseline_cumulative_hazard_.index.to_numpy(dtype=float)
        return np.unique([0.0, *known[known < horizon], horizon])


def risks_by(horizon: float, rows: pd.DataFrame, own: Cox, other: Cox | None) -> Floats:
    """Each person's risk of the own cause by the horizon while the other competes: the hazard of
    the own cause, over those whom neither has ended (Benichou and Gail 1990). Without a model of
    the other it is as if nothing competed."""
    times = own.times_until(horizon)
    hazard = own.hazards(rows, times)
    competing = other.hazards(rows, times) if other else np.zeros_like(hazard)
    return risk_of_own_cause(hazard, competing)


def fit_cox(rows: pd.DataFrame, inputs: Sequence[str], cause: int) -> Cox:
    """A Cox model of one cause's hazard, others censored (Prentice et al. 1978), by lifelines with
    Efron's ties and a little ridge; missing inputs are the mean, constant ones are left out."""
    from lifelines import CoxPHFitter  # a second to import, which no other task should pay

    numbers = rows[list(inputs)].astype(float)
    varied = numbers.columns[numbers.std().fillna(0.0) > 0]
    centre, scale = numbers[varied].mean(), numbers[varied].std()
    frame = _filled(rows, centre, scale)
    frame = frame.assign(days=rows["days"].astype(float), seen=(rows["cause"] == cause))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of rare events, which the limits show
        fitted = CoxPHFitter(penalizer=_RIDGE).fit(frame, "days", "seen")
    return Cox(fitted, centre, scale)


def _filled(rows: pd.DataFrame, centre: pd.Series, scale: pd.Series) -> pd.DataFrame:
    numbers = rows[list(centre.index)].astype(float)
    return (numbers.fillna(centre) - centre) / scale


def survival_curves(rows: pd.DataFrame) -> list[Row]:
    """Rows of gold.survival_curve: dropout and death beside one another, Kaplan-Meier beside them,
    and dropout by sex. The tail with fewer than 11 people at risk is left out."""
    days, cause = rows["days"].to_numpy(), rows["cause"].to_numpy()
    alone = kaplan_meier(days, cause == DROPOUT)
    turned = Curve(alone.times, 1 - alone.values, 1 - alone.high, 1 - alone.low, alone.at_risk)
    found = [*_steps("dropout", "all", cumulative_incidence(days, cause, DROPOUT))]
    found += _steps("death", "all", cumulative_incidence(days, cause, DEATH))
    found += _steps("dropout_kaplan_meier", "all", turned)
    for sex, own in rows.dropna(subset=["sex"]).groupby("sex"):
        if own["subject_key"].nunique() >= SMALLEST_CELL:
            curve = cumulative_incidence(own["days"], own["cause"], DROPOUT)
            found += _steps("dropout", str(sex), curve)
    return found


def _steps(curve: str, group: str, found: Curve) -> Iterator[Row]:
    for place in np.flatnonzero(found.at_risk >= SMALLEST_CELL):
        yield {
            "endpoint": ENDPOINT,
            "curve": curve,
            "group_value": group,
            "time_days": int(found.times[place]),
            "value": float(found.values[place]),
            "low": float(found.low[place]),
            "high": float(found.high[place]),
            "at_risk_count": int(found.at_risk[place]),
        }


def survival_figures(rows: pd.DataFrame, horizon_days: int) -> list[Row]:
    """Rows of gold.survival_figure: sexes compared, what Kaplan-Meier overstates by the horizon,
    and a Cox model of the earlier people judged on the later; that only with enough events."""
    days, dropped = rows["days"].to_numpy(), (rows["cause"] == DROPOUT).to_numpy()
    found = [*_compared(rows)]
    if dropped.any():
        own = cumulative_incidence(days, rows["cause"], DROPOUT).at(horizon_days)
        naive = 1 - kaplan_meier(days, dropped).at(horizon_days, 1.0)
        found.append(_row(rows, "kaplan_meier_excess", f"{horizon_days} days", naive - own))
    cut = time_cut(rows) if len(rows) else None
    train, test = rows[rows["index_date"] < cut], rows[rows["index_date"] >= cut]
    if (train["cause"] == DROPOUT).sum() < _FEWEST_EVENTS:
        return found
    models = {DROPOUT: fit_cox(train, CORE, DROPOUT)}
    if (train["cause"] == DEATH).sum() >= _FEWEST_EVENTS:
        models[DEATH] = fit_cox(train, CORE, DEATH)
    for cause, model in models.items():
        metric = "hazard_ratio" if cause == DROPOUT else "death_hazard_ratio"
        found += [
            {**_row(train, metric, name, value), "low": low, "high": high, "p_value": p}
            for name, value, low, high, p in model.ratios()
        ]
    test = test.sample(min(len(test), _MOST_PEOPLE), random_state=0)
    if (test["cause"] == DROPOUT).sum() >= _FEWEST_EVENTS // 4:
        found += _judged(test, models, horizon_days)
    return found


def _compared(rows: pd.DataFrame) -> Iterator[Row]:
    known = rows.dropna(subset=["sex"])
    sizes = known.groupby("sex")["subject_key"].nunique()
    large = known[known["sex"].isin(sizes[sizes >= SMALLEST_CELL].index)]
    tested = log_rank(large["days"], large["cause"] == DROPOUT, large["sex"].to_numpy(str))
    if tested is not None:
        yield {**_row(large, "log_rank", "sex", tested.chi_square), "p_value": tested.p_value}


def _judged(test: pd.DataFrame, models: Mapping[int, Cox], horizon: int) -> Iterator[Row]:
    days, cause = test["days"].to_numpy(), test["cause"].to_numpy()
    risks = risks_by(horizon, test, models[DROPOUT], models.get(DEATH))
    term = f"{horizon} days"
    observed = cumulative_incidence(days, cause, DROPOUT).at(horizon)
    figures = {
        "harrell_c": harrell_c(days, cause == DROPOUT, risks),
        "uno_c": uno_c(days, cause == DROPOUT, risks, horizon),
        "brier": brier_at(horizon, days, cause, risks),
        "brier_without_model": brier_at(horizon, days, cause, np.full(len(test), observed)),
        "observed_expected": observed / float(risks.mean()) if risks.mean() > 0 else None,
    }
    for metric, value in figures.items():
        if value is not None:
            yield _row(test, metric, term, value)


def _row(rows: pd.DataFrame, metric: str, term: str, value: float) -> dict[str, Any]:
    return {
        "endpoint": ENDPOINT,
        "metric": metric,
        "term": term,
        "value": float(value),
        "person_count": rows["subject_key"].nunique(),
        "event_count": int((rows["cause"] == DROPOUT).sum()),
    }
