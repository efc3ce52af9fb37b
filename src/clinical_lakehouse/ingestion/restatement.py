"""The job restatement, first and last: which part is made anew, and its silver rows from bronze."""

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion import data_completeness, identity
from clinical_lakehouse.ingestion.accounting import only_of_type, only_valid
from clinical_lakehouse.ingestion.changes import Scope
from clinical_lakehouse.ingestion.patient_ingestion import barred, permitted_people, write_view
from clinical_lakehouse.ingestion.people import with_site
from clinical_lakehouse.ingestion.restated_scope import (
    PARAMETERS,
    RESOURCE,
    Part,
    part_asked,
    resources_of,
    strays,
)
from clinical_lakehouse.ingestion.view import View, compiled_view
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.runtime.vault_keys import VaultKeys, vault_keys
from clinical_lakehouse.runtime.writing import in_two_threads
from clinical_lakehouse.tables import ops, silver, vault
from clinical_lakehouse.tables.bronze import (
    CONSENT_DECISION,
    CONSENT_DENIAL,
    FHIR_RESOURCE,
    QUARANTINE,
    RESTATEMENT_SCOPE,
)
from clinical_lakehouse.tables.gold_standardization import RESTATED_PERSON
from clinical_lakehouse.tables.ops_audit import AUDIT
from clinical_lakehouse.tables.views import silver_views

_SILVER = [view.table for view in silver_views()]
_WHO = {"plan": "", "why": "", "by": ""}


@task(
    reads=[FHIR_RESOURCE, vault.SUBJECT, vault.SEALED_KEY],
    writes=[RESTATEMENT_SCOPE, RESTATED_PERSON, AUDIT],
    params=dict.fromkeys(PARAMETERS, "") | _WHO,
)
def mark(run: Run) -> Metrics:
    """Write down which resources and people are made anew; nothing where the plan (`plan`) that
    was made meant another set."""
    part = part_asked(run.params)
    why, by = run.param("why"), run.param("by")
    found, people = scope(run, part)
    plan = part.plan_id(found)
    if run.params["plan"] not in ("", plan):
        raise UsageError("bronze has changed since that plan was made; make it anew")
    resources = run.lake.replace(RESTATEMENT_SCOPE, found).inserted
    if resources == 0:
        raise UsageError("bronze holds no valid resource of that part; check the key, file or date")
    persons = run.lake.replace(RESTATED_PERSON, people).inserted
    told = Change(run.run_id, "restate", FHIR_RESOURCE.name, plan, "restatement", why=why)
    record(run, mark.name, by, [told])
    return {"plan": plan, "resources": resources, "persons": persons}


def scope(run: Run, part: Part) -> tuple[DataFrame, DataFrame]:
    """The part's resources (bronze.restatement_scope) and people (gold.restated_person)."""
    keys, bronze = vault_keys(run), only_valid(run.lake.read(FHIR_RESOURCE))
    known = identity.opened(run.lake.read(vault.SUBJECT), keys.seals)
    people = known.select("patient_id", "subject_key", F.lit(None).cast("bigint").alias("site_key"))
    if part.sites:
        sited = with_site(people.drop("site_key"), only_of_type(bronze, "Patient"))
        own = surrogate_key(keys.pseudonym, "Organization", F.col("site_id"))
        people = sited.withColumn("site_key", own)
    found = resources_of(part, bronze, people)
    persons = people.join(found.select("patient_id"), "patient_id", "left_semi")
    is_whole = F.lit(part.is_of_whole_people).alias("is_whole")
    return found.select(*RESOURCE).distinct(), persons.select("subject_key", is_whole).distinct()


@task(
    reads=[FHIR_RESOURCE, QUARANTINE, CONSENT_DECISION, CONSENT_DENIAL, vault.SUBJECT,
           vault.SEALED_KEY, RESTATEMENT_SCOPE, RESTATED_PERSON, ops.LANDING_FILE,
           ops.LANDING_MANIFEST],
    writes=[*_SILVER, silver.ENCOUNTER_COMPLETENESS],
)  # fmt: skip
def publish(run: Run) -> Metrics:
    """Bring the marked resources' rows in silver to what bronze says, by the way that an increment
    of patient_ingestion takes; rows of whole people that no resource makes go."""
    keys, found = vault_keys(run), run.lake.read(RESTATEMENT_SCOPE)
    persons = run.lake.read(RESTATED_PERSON)
    whole = persons.filter("is_whole").select("subject_key")
    part, is_whole = Scope(found, barred(run)), not whole.isEmpty()
    made, views = permitted_people(run, keys, part), _views(run, found, is_whole)
    in_two_threads([partial(write_view, run, keys, made, part, view) for view in views])
    if is_whole:
        in_two_threads([partial(_clear, run, keys, whole, view) for view in views])
    if run.lake.exists(silver.ENCOUNTER_COMPLETENESS):
        data_completeness.assess(run.with_lake(run.lake.restating(persons)))
    return {"tables_written": len(views)}


def _views(run: Run, found: DataFrame, is_whole: bool) -> list[View]:
    """The views whose tables hold rows of the part; one never written is patient_ingestion's."""
    held = {row[0] for row in found.select("resource_type").distinct().collect()}
    compiled = partial(
        compiled_view, as_of=run.as_of, zip3_withheld=run.settings.privacy.zip3_withheld
    )
    return [
        compiled(view)
        for view in silver_views()
        if run.lake.exists(view.table)
        and (view.resource in held or (is_whole and view.is_personal))
    ]


def _clear(run: Run, keys: VaultKeys, people: DataFrame, view: View) -> None:
    """Remove the rows of whole people that no resource of theirs makes."""
    if not view.silver.is_personal or view.table is silver.PATIENT:
        return
    found = run.lake.read(RESTATEMENT_SCOPE).filter(F.col("resource_type") == view.resource_type)
    own = surrogate_key(keys.pseudonym, view.resource_type, F.col("resource_id"))
    lost = strays(run.lake.read(view.table), people, found.select(own.alias(view.table.key[0])))
    if not lost.isEmpty():
        run.lake.merge(view.table, lost.withColumn("is_stray", F.lit(True)), deleted="is_stray")


@task(writes=[RESTATEMENT_SCOPE, RESTATED_PERSON])
def close(run: Run) -> Metrics:
    """Forget which resources and people were made anew."""
    for table in (RESTATEMENT_SCOPE, RESTATED_PERSON):
        run.lake.replace(table, [])
    return {}
