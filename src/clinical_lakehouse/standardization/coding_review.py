"""The job coding_review: a person's decision on candidates of gold.coding_review, carried out."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.operators.medical_coding import UNDECIDED
from clinical_lakehouse.operators.medical_coding import decide as decide_on
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.decisions import decided_status
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_standardization import CODING_REVIEW
from clinical_lakehouse.tables.omop_vocabulary import SOURCE_TO_CONCEPT_MAP
from clinical_lakehouse.tables.ops_audit import AUDIT

_DECISIONS = {"accept": "accepted", "reject": "rejected"}
_PARAMS = {"decision": "", "code": "", "concept": "", "suggested": "no", "why": "", "by": ""}


@task(writes=[CODING_REVIEW, SOURCE_TO_CONCEPT_MAP, AUDIT], params=_PARAMS)
def decide(run: Run) -> Metrics:
    """Accept or reject candidates of a code, or all that are suggested; who and why are kept.

    What is accepted stands in omop.source_to_concept_map for the next run of data_standardization.
    """
    status = decided_status(run.params, _DECISIONS, "is kept with it")
    chosen = _chosen(run)
    if run.lake.read(CODING_REVIEW).filter(chosen).isEmpty():
        raise UsageError("no such candidate; see clinical-lakehouse coding list")
    by, why = run.params["by"], run.params["why"]
    count = decide_on(run, chosen, status, by, why)
    about = run.params.get("concept") or run.params.get("suggested") or "all"
    change = Change(run.run_id, status, CODING_REVIEW.name, f"concept {about}", "coding", why=why)
    record(run, decide.name, by, [change])
    return {"rows_decided": count}


def _chosen(run: Run) -> Column:
    """The rows that a decision is about; refuses one that does not say on which."""
    given = run.params
    if given.get("suggested") == "yes":
        return F.col("status") == "suggested"
    code, concept = given.get("code", ""), given.get("concept", "")
    is_accepting = given["decision"] == "accept"
    if not code or (is_accepting and not concept) or not (concept or "0").isdigit():
        raise UsageError("give CODE and a concept id of its candidates (reject: CODE for all)")
    own = F.col("source_code") == code
    # A decision on one candidate may be taken back; one on all leaves what was decided.
    return own & (F.col("concept_id") == int(concept) if concept else F.expr(UNDECIDED))
