"""The job vault_rotation: seals the vault under another secret; keys and dates stay as they are."""

from pyspark.sql import functions as F

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.ingestion.identity import opened, sealed
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import vault_secret
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.vault_keys import VaultKeys, sealed_row, vault_keys
from clinical_lakehouse.tables.ops import BOOKMARK
from clinical_lakehouse.tables.vault import SEALED_KEY, SUBJECT

_PUBLISH = "patient-ingestion-publish"


@task(reads=[], writes=[SUBJECT, SEALED_KEY, BOOKMARK])
def rotate(run: Run) -> Metrics:
    """Seal the vault under privacy.vault_secret, opening it with privacy.vault_secret_previous.

    Killed anywhere it is started again: each row says which of the two secrets opens it. The former
    secret is no longer needed once this has run and the former files are vacuumed.
    """
    if run.settings.privacy.vault_secret_previous is None:
        raise SettingsError(
            "name the present secret in privacy.vault_secret_previous and a new one in "
            "privacy.vault_secret, then run vault_rotation"
        )
    vault_secret(run, may_make=True)
    keys = vault_keys(run)
    former = run.lake.read(SUBJECT).filter(F.col("key_id") != keys.seal[0])
    count = former.count()
    if count:
        _seal_again(run, keys)
    if not run.lake.read(SEALED_KEY).filter(F.col("key_id") != keys.seal[0]).isEmpty():
        run.lake.replace(SEALED_KEY, [sealed_row(keys)])
    return {"rows_resealed": count}


def _seal_again(run: Run, keys: VaultKeys) -> None:
    """One replace of vault.subject; publish, whose rows depend on no seal, need not look again."""
    before = run.lake.version(SUBJECT)
    run.lake.replace(SUBJECT, sealed(opened(run.lake.read(SUBJECT), keys.seals), keys.seal))
    seen = bookmarks(run, _PUBLISH)
    if seen.get(SUBJECT.name) == before:
        move_bookmarks(run, _PUBLISH, {**seen, SUBJECT.name: run.lake.version(SUBJECT)})
