# Databricks notebook source
# MAGIC %md
# MAGIC # Review the model
# MAGIC How good the dropout model was on held-out rows, whether its risks are true, how it treats
# MAGIC groups, how it has fared since, and what is alerting.
# MAGIC
# MAGIC Locally the lake is the folder `CLINICAL_LAKE_ROOT`; on Databricks it is the catalog
# MAGIC `CLINICAL_CATALOG`.

# COMMAND ----------

import os

from clinical_lakehouse.pages.asking import ask
from clinical_lakehouse.pages.model_sections import discrimination, fairness, over_time
from clinical_lakehouse.pages.operation_sections import alerts_table
from clinical_lakehouse.pages.trial_questions import FIRST, OF_VERSION
from clinical_lakehouse.pages.trial_report import version_in_use
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.page import Page
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.settings import load_settings

lake = open_lake({"catalog": os.environ.get("CLINICAL_CATALOG", "")})
settings = load_settings(os.environ.get("CLINICAL_ENV", "dev"))
model = settings.model.name

# COMMAND ----------

# MAGIC %md
# MAGIC ## Versions
# MAGIC What was trained, on what, and whether the gate let it pass.

# COMMAND ----------

names = ("versions", "gates", "scored", "alerts")
answers = ask(lake, {name: FIRST[name] for name in names}, {"model": model})
version = version_in_use(answers)

versions = lake.query(
    """SELECT v.model_version, v.algorithm, v.train_row_count, v.test_row_count,
           v.train_from_date, v.test_to_date, g.is_passed, g.reason
    FROM gold.model_version AS v
    LEFT JOIN gold.model_gate AS g USING (model_name, model_version)
    WHERE v.model_name = :model
    ORDER BY v.model_version DESC""",
    {"model": model},
)
versions.show(12, truncate=100)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Held-out evaluation of the version in use

# COMMAND ----------

at = {"model": model, "version": version or 0}
evaluation = lake.query(
    """SELECT metric, round(value, 3) AS value, round(low, 3) AS low, round(high, 3) AS high,
           round(baseline, 3) AS baseline, row_count
    FROM gold.model_evaluation
    WHERE model_name = :model AND model_version = :version AND group_name = 'all'
    ORDER BY metric""",
    at,
)
evaluation.show(40, truncate=False)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Calibration
# MAGIC Observed against predicted, and how far they lie apart.

# COMMAND ----------

calibration = lake.query(
    """SELECT point, round(x, 3) AS predicted, round(y, 3) AS observed,
           round(y - x, 3) AS apart, row_count
    FROM gold.model_curve
    WHERE model_name = :model AND model_version = :version
      AND curve = 'calibration' AND series = 'model'
    ORDER BY point""",
    at,
)
calibration.show(20)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Windows over their limit, and open alerts

# COMMAND ----------

over_limit = lake.query(
    """SELECT metric, window_start_date, window_end_date, round(value, 3) AS value,
           round(reference, 3) AS reference, row_count
    FROM gold.model_metric
    WHERE model_name = :model AND model_version = :version AND is_over_limit
    ORDER BY window_end_date, metric""",
    at,
)
over_limit.show(40, truncate=False)

alerts = lake.query(
    """SELECT severity, state, kind, message, first_seen_at, last_seen_at
    FROM ops.alert
    WHERE state <> 'resolved'
    ORDER BY last_seen_at DESC"""
)
alerts.show(20, truncate=90)

# COMMAND ----------

# MAGIC %md
# MAGIC ## The same as pictures
# MAGIC On Databricks they are shown below; locally they are written to `reports/model_review.html`
# MAGIC in the lake.

# COMMAND ----------

now = wall_clock()
answers |= ask(lake, OF_VERSION, {**at, "as_of": now.date().isoformat()})
sections = (
    discrimination(answers["evaluation"], answers["curves"]),
    fairness(answers["evaluation"]),
    over_time(answers["metrics"], settings.limits.accuracy_drop_max),
    alerts_table(answers["alerts"]),
)
page = Page("Model review", f"{model}, version {version}", now, "notebook", sections)
html = render(page)

if "displayHTML" in globals():
    displayHTML(html.decode())
else:
    picture = lake.root / "reports" / "model_review.html"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(html)
