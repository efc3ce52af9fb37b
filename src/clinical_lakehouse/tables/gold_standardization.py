"""Gold: how source codes became concepts, and which records found no place in OMOP and why."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, key

_OWNER = "data-engineering"
_ROLES = "event, value, unit, route or site"
_REASONS = "no_code, unknown_system, unknown_code, ambiguous, deprecated or no_standard_map"

_USE = (
    Column("source_table", "STRING", "Silver table the code stands in.", False),
    Column("role", "STRING", f"What the code codes there: {_ROLES}.", False),
    Column("code_system", "STRING", "System URI; empty where none was sent.", False),
    Column("code", "STRING", "Code; empty where none was sent.", False),
)
_COUNTED = (
    Column("display", "STRING", "A display the source sent with the code."),
    Column("row_count", "BIGINT", "Records that hold the code.", False),
)

USED_CODE = Table(
    name="gold.used_code",
    comment="One row per source code and its role: how many records hold it.",
    owner=_OWNER,
    key=("source_table", "role", "code_system", "code"),
    columns=(*_USE, *_COUNTED),
)

CODE_MAP = Table(
    name="gold.code_map",
    comment="One row per source code, its role and standard concept it maps to (first is 0).",
    owner=_OWNER,
    key=("source_table", "role", "code_system", "code", "map_index"),
    columns=(
        *_USE,
        Column("map_index", "INT", "0, 1, ... by standard concept id.", False),
        *_COUNTED,
        Column("source_concept_id", "INT", "Concept of the code itself, 0 where none.", False),
        Column("concept_id", "INT", "Standard concept, 0 where none.", False),
        Column("domain_id", "STRING", "Domain of the standard concept."),
        Column("value_concept_id", "INT", "Value that the code implies (Maps to value)."),
        Column("reason", "STRING", f"Why there is none: {_REASONS}."),
    ),
)

UNMAPPED_CODE = Table(
    name="gold.unmapped_code",
    comment="One row per source code without a standard concept: what a coder should look at.",
    owner=_OWNER,
    key=("source_table", "role", "code_system", "code"),
    columns=(
        *_USE,
        *_COUNTED,
        Column("source_concept_id", "INT", "Concept of the code itself, 0 where none.", False),
        Column("reason", "STRING", f"{_REASONS}.", False),
        Column("source_vocabulary_id", "STRING", "What omop.source_to_concept_map calls it."),
    ),
)

UNPLACED_RECORD = Table(
    name="gold.unplaced_record",
    comment="One row per silver record that has no row in OMOP, and why: nothing is lost unsaid.",
    owner=_OWNER,
    key=("source_table", "source_key", "component_index", "reason"),
    columns=(
        Column("source_table", "STRING", "Silver table of the record.", False),
        key("source_key", "The record's key there."),
        Column("component_index", "INT", "Component of an observation, else 0.", False),
        key("subject_key", "The person."),
        Column(
            "reason",
            "STRING",
            "not_happened, undated, death_undated, birth_year_unknown or person_unplaced.",
            False,
            Phi.NONE,
        ),
    ),
)
