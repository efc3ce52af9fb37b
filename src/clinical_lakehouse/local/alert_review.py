"""Alert rules tried on what a lake has stored."""

from datetime import timedelta
from pathlib import Path

from clinical_lakehouse.alerting.alerting import alerting_conf, observed
from clinical_lakehouse.alerting.rules.backtest import Backtest, Span, backtest
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings


def backtested(root: Path, env: str, name: str, days: int) -> Backtest:
    """What a rule of conf/alerting would have done in the last days, evaluation by evaluation.

    UsageError names the known rules for one that is not there.
    """
    settings = load_settings(env)
    conf = alerting_conf(settings)
    rule = next((one for one in conf.rules if one.name == name), None)
    if rule is None:
        known = ", ".join(one.name for one in conf.rules)
        raise UsageError(f"no rule {name!r}; known: {known}")
    run = Run(open_lake({"root": str(root)}), settings, wall_clock(), "backtest")
    span = Span(run.as_of - timedelta(days=days), run.as_of, conf.interval)
    return backtest(rule, observed(run), span)
