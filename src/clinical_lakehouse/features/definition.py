"""What a feature row means, and the version that changes when its meaning does."""

import hashlib
import json

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features import events, measures
from clinical_lakehouse.methods.comorbidity import GROUPS
from clinical_lakehouse.tables.gold_features import MEASURES, SUBJECT_FEATURE

# Raise it when the code of a feature changes its values but no figure below does.
_REVISION = 1


def feature_version(index_every_days: int) -> str:
    """SHA-256 of the definitions: columns, codes, units, plausible ranges, windows and the grid."""
    meaning = {
        "revision": _REVISION,
        "columns": [(c.name, c.type, c.unit, c.comment) for c in SUBJECT_FEATURE.columns],
        "measures": MEASURES,
        "windows": [measures.WINDOW_DAYS, measures.BASELINE_DAYS, events.VISIT_DAYS],
        "counts": [events.SHORT_DAYS, events.LONG_DAYS],
        "comorbidity": [(g.name, g.weight, g.icd10, g.snomed, g.yields_to) for g in GROUPS],
        "index_every_days": index_every_days,
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def subject_features(
    index: DataFrame, measured: DataFrame, happened: DataFrame, version: str
) -> DataFrame:
    """gold.subject_feature: each index row with its measures and counts, nothing left out."""
    grain = ["research_subject_key", "index_date"]
    joined = index.join(measured, grain, "left").join(happened, grain, "left")
    versioned = joined.withColumn("feature_version", F.lit(version))
    return versioned.select(*SUBJECT_FEATURE.column_names)
