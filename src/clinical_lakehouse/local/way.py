"""The ways to run a job's tasks here; all give the same tables."""

from dataclasses import dataclass

from clinical_lakehouse.errors import UsageError

MODES = ("session", "process", "submit")


@dataclass(frozen=True)
class Way:
    """How tasks run: `session` (threads in one session), `process` (interpreters of their own) or
    `submit` (spark-submit to `master`); `remote` is a Spark Connect server, sc://HOST:PORT."""

    mode: str = "session"
    master: str = ""
    remote: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(MODES)}")
        if self.mode == "submit" and not self.master:
            raise UsageError("mode submit needs --master, e.g. spark://HOST:7077")
        if self.mode == "submit" and self.remote:
            raise UsageError("mode submit starts its own driver: give --master, not --remote")
        if self.master and self.remote:
            raise UsageError("give --master or --remote, not both")
