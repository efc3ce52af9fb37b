"""Job serving_log: what servers of models answered, as a table."""

from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.served import take_served
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_deployment import SERVED_ANSWER


@task(reads=[], writes=[SERVED_ANSWER])
def collect(run: Run) -> Metrics:
    """Take the answers that servers noted on disk into gold.served_answer, each once."""
    return {"answers_noted": take_served(run.lake)}
