# Databricks notebook source
# MAGIC %md
# MAGIC # Explore the lake
# MAGIC What is in it, how much of it, and a first look at the trial.
# MAGIC
# MAGIC Locally the lake is the folder `CLINICAL_LAKE_ROOT`; on Databricks it is the catalog
# MAGIC `CLINICAL_CATALOG`. Nothing here writes a table or shows a treatment arm.

# COMMAND ----------

import os

from clinical_lakehouse.pages.asking import ask
from clinical_lakehouse.pages.trial_questions import FIRST
from clinical_lakehouse.pages.trial_sections import enrolment, receipt
from clinical_lakehouse.rendering.html import render
from clinical_lakehouse.rendering.page import Page
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.tables.catalog import all_tables

lake = open_lake({"catalog": os.environ.get("CLINICAL_CATALOG", "")})

# COMMAND ----------

# MAGIC %md
# MAGIC ## What is there
# MAGIC Every table that has been made, its grain from the contract, and its rows.

# COMMAND ----------

made = [table for table in all_tables().values() if lake.exists(table)]
inventory = lake.spark.createDataFrame(
    [(table.name, lake.read(table).count(), table.owner, table.comment) for table in made],
    "table_name STRING, row_count BIGINT, owner STRING, grain STRING",
)
inventory.orderBy("table_name").show(100, truncate=90)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Who takes part
# MAGIC Plain SQL over the tables by name. `lake.query` takes one statement that reads; groups of
# MAGIC fewer than 11 people are left out.

# COMMAND ----------

people = lake.query(
    """SELECT sex, race, count(*) AS people, round(avg(birth_year)) AS mean_birth_year
    FROM silver.patient
    GROUP BY sex, race
    HAVING count(*) >= 11
    ORDER BY people DESC"""
)
people.show(20, truncate=False)

# COMMAND ----------

# MAGIC %md
# MAGIC ## What is measured most

# COMMAND ----------

measured = lake.query(
    """SELECT code, max(display) AS display, unit_code,
           count(*) AS values, count(DISTINCT subject_key) AS people,
           round(percentile_approx(value_number, 0.5), 2) AS median
    FROM silver.observation
    WHERE value_number IS NOT NULL
    GROUP BY code, unit_code
    HAVING count(DISTINCT subject_key) >= 11
    ORDER BY values DESC
    LIMIT 20"""
)
measured.show(20, truncate=40)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Enrolment and receipt, as pictures
# MAGIC The same sections as in the trial report. On Databricks they are shown below; locally they
# MAGIC are written to `reports/explore_lake.html` in the lake.

# COMMAND ----------

wanted = {name: FIRST[name] for name in ("enrolment", "received", "reasons")}
answers = ask(lake, wanted, {})
sections = (enrolment(answers["enrolment"]), receipt(answers["received"], answers["reasons"]))
page = Page("Explore the lake", "Enrolment and receipt", wall_clock(), "notebook", sections)
html = render(page)

if "displayHTML" in globals():
    displayHTML(html.decode())
else:
    picture = lake.root / "reports" / "explore_lake.html"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(html)
