# Databricks notebook source
# MAGIC %md
# MAGIC # Watch the model
# MAGIC What the windows of the model in use mean, whether acting on its scores explains them, what
# MAGIC has moved in the data, and who put which version in use. The figures of `models page` and of
# MAGIC the dashboard.
# MAGIC
# MAGIC Locally the lake is the folder `CLINICAL_LAKE_ROOT`; on Databricks it is the catalog
# MAGIC `CLINICAL_CATALOG`.

# COMMAND ----------

import os
from datetime import timedelta

from clinical_lakehouse.monitoring.as_known import as_known
from clinical_lakehouse.pages.model_page import in_use, model_answers, model_page
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.gold_monitoring import PERFORMANCE_REVISION

lake = open_lake({"catalog": os.environ.get("CLINICAL_CATALOG", "")})
model = load_settings(os.environ.get("CLINICAL_ENV", "dev")).model.name
answers = model_answers(lake, model)
print(f"{model}: version {in_use(answers['promotions'])} is in use")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Who put which version in use, and why

# COMMAND ----------

for row in answers["promotions"].rows:
    print(row["decided_at"], row["action"], row["to_version"], row["decided_by"], row["reason"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## What each window means
# MAGIC *Intervention*: the figures fell where people acted on scores, and not elsewhere; nothing is
# MAGIC retrained for that.

# COMMAND ----------

for row in answers["verdicts"].rows:
    print(row["window_end_date"], row["verdict"], row["advice"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## Performance by population
# MAGIC All predictions; those nobody acted on, weighted as if nobody had been; and the estimate
# MAGIC without outcomes, which cannot see concept drift.

# COMMAND ----------

for row in answers["performance"].rows:
    print(row["metric"], row["population"], row["window_end_date"], row["value"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## As known then, and now
# MAGIC Late outcomes, corrections and withdrawn consent open old windows again. `as_known` gives
# MAGIC the figures of any moment.

# COMMAND ----------

for row in answers["revisions"].rows:
    print(row["window_end_date"], row["metric"], row["first_value"], row["value"])
then = wall_clock() - timedelta(days=30)
print(as_known(lake.read(PERFORMANCE_REVISION), then).count(), "figures were known 30 days ago")

# COMMAND ----------

# MAGIC %md
# MAGIC ## For whom
# MAGIC Observed over expected by site and group; groups below 11 subjects have no figure.

# COMMAND ----------

for row in answers["groups"].rows:
    if row["metric"] == "observed_expected" and row["value"] is not None:
        print(row["window_end_date"], row["attribute"], row["group_value"], row["value"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## What has moved in the data

# COMMAND ----------

for row in answers["drift"].rows:
    print(row["state"], row["feature_name"], row["site"], row["reference"], row["explanation"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## The same as pictures
# MAGIC On Databricks they are shown below; locally they are written to
# MAGIC `reports/model_monitoring.html` in the lake.

# COMMAND ----------

html = render(model_page(model, answers, wall_clock()))
if "displayHTML" in globals():
    displayHTML(html.decode())
else:
    picture = lake.root / "reports" / "model_monitoring.html"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(html)
