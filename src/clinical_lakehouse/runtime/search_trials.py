"""Where hyperopt's trials run: in this process, or as tasks of a classic cluster."""

from hyperopt import SparkTrials, Trials

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.run import Run

LOCAL, SPARK = "local", "spark"


def search_trials(run: Run, kind: str, parallelism: int) -> Trials:
    """Fresh trials of the kind that a model declares: LOCAL, or SPARK with so many at once.

    UsageError over Spark Connect (serverless), which has no SparkContext for SparkTrials.
    """
    if kind == LOCAL:
        return Trials()
    session = run.lake.spark
    if type(session).__module__.startswith("pyspark.sql.connect"):
        raise UsageError(
            "SparkTrials needs a classic cluster and this session is Spark Connect; set "
            "search_trials: local in the model's file of conf/models"
        )
    return SparkTrials(parallelism=parallelism, spark_session=session)
