"""The suite's errors: a message says what to change and never holds a data value."""


class LakehouseError(Exception):
    """Anything the suite refuses or cannot do; its text is one line a person can act on."""


class SettingsError(LakehouseError):
    """A setting, environment variable or secret reference is missing, unknown or malformed."""


class UsageError(LakehouseError):
    """A command, job, task or parameter was asked for that does not exist or does not fit."""


class BundleError(LakehouseError):
    """The asset bundle (databricks.yml, jobs/*.job.yml) cannot be read or refers to nothing."""


class SourceError(LakehouseError):
    """A landing folder or another source system cannot be read."""


class ContractError(LakehouseError):
    """Rows do not fit their table's contract, or a task touched a table it did not declare."""


class AccountingError(LakehouseError):
    """Rows received are not equal to rows loaded, quarantined and duplicate."""


class LakeError(LakehouseError):
    """The lake itself cannot be used: newer format, locked, damaged or out of space."""


class PrerequisiteError(LakehouseError):
    """Java, Python, memory, disk or a package is missing or of the wrong version."""


class ModelError(LakehouseError):
    """A model cannot be trained, found or promoted."""
