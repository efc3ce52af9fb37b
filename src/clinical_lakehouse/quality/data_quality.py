"""The data_quality job: tables judged by contracts and conf/quality, scored, watched for steps."""

from clinical_lakehouse.methods.quality.grammar import JUDGED_SCHEMAS, read_checks
from clinical_lakehouse.methods.quality.scores import read_weights
from clinical_lakehouse.operators.clinical_data_validator import ClinicalDataValidatorOperator
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops, ops_quality
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.conf import conf_dir

# What checks may look at. Bronze is judged only where conf/quality has checks of it.
_SEEN = tuple(t for t in all_tables().values() if t.schema_name in JUDGED_SCHEMAS)
_KEPT = (
    ops_quality.QUALITY_TABLE_RESULT,
    ops_quality.QUALITY_FAILURE,
    ops_quality.QUALITY_SLICE,
    ops_quality.QUALITY_BLOCK,
    ops_quality.QUALITY_STEP,
    ops_quality.QUALITY_SCORE,
)


@task(reads=_SEEN, writes=[ops.QUALITY_RESULT, *_KEPT, ops.ALERT_EVENT])
def check(run: Run) -> Metrics:
    """Judge every silver, omop and gold table; one that fails a fatal check is blocked."""
    folder = conf_dir() / "quality"
    checks = read_checks(folder, all_tables())
    judged = tuple(t for t in _SEEN if t.schema_name != "bronze" or t.name in checks)
    weights = read_weights(folder)
    return ClinicalDataValidatorOperator(judged, checks, weights, check.name).execute(run)
