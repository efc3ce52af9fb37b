"""Gold: how source codes became concepts, and which records found no place in OMOP and why."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, is_one_of, key

_OWNER = "data-engineering"
_ROLES = "event, value, unit, route or site"
_METHODS = "exact, normalised or fuzzy"
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

CODING_REVIEW = Table(
    name="gold.coding_review",
    comment="One row per source code or text without a concept and candidate; a person decides.",
    owner=_OWNER,
    key=("source_vocabulary_id", "source_code", "concept_id"),
    columns=(
        Column("source_vocabulary_id", "STRING", "As gold.unmapped_code names it.", False),
        Column("source_code", "STRING", "Code, or the text where none was sent.", False),
        Column("source_text", "STRING", "What was looked for: display, else the code.", False),
        Column("source_concept_id", "INT", "Concept of the code itself, 0 where none.", False),
        Column("row_count", "BIGINT", "Records that hold the code.", False),
        Column("rank", "INT", "1 is the best candidate of the text.", False),
        Column("score", "DOUBLE", "How alike text and name are, 0 to 1; 1 is the same.", False),
        Column("method", "STRING", f"{_METHODS}.", False),
        Column("matched_name", "STRING", "The name that was found.", False),
        Column("concept_id", "INT", "Standard concept, the candidate.", False),
        Column("concept_name", "STRING", "Its name.", False),
        Column("vocabulary_id", "STRING", "Its vocabulary.", False),
        Column("concept_code", "STRING", "Its code there.", False),
        Column("domain_id", "STRING", "Its domain.", False),
        Column("status", "STRING", "open, suggested, accepted or rejected.", False),
        Column("reviewer", "STRING", "Who decided, or the setting that did."),
        Column("decided_at", "TIMESTAMP", "as_of of the decision."),
        Column("decision_reason", "STRING", "Why, in the person's words."),
    ),
    checks=(
        is_one_of("status", "open", "suggested", "accepted", "rejected"),
        is_one_of("method", "exact", "normalised", "fuzzy"),
        between("score", 0, 1),
    ),
)

VOCABULARY_CHANGE = Table(
    name="gold.vocabulary_change",
    comment="One row per run and code whose standard concepts a vocabulary or map changed.",
    owner=_OWNER,
    key=("changed_at", "source_table", "role", "code_system", "code"),
    columns=(
        Column("changed_at", "TIMESTAMP", "as_of of the run that restated the rows.", False),
        *_USE,
        Column("display", "STRING", "A display the source sent with the code."),
        Column("kind", "STRING", "changed, rerouted (domain), deprecated or new_map.", False),
        Column("concept_ids_before", "ARRAY<INT>", "Standard concepts until then."),
        Column("concept_ids_after", "ARRAY<INT>", "Standard concepts since."),
        Column("domain_ids_before", "ARRAY<STRING>", "Their domains."),
        Column("domain_ids_after", "ARRAY<STRING>", "Their domains."),
        Column("reason", "STRING", "Why there is none any more, as in gold.code_map."),
        Column("row_count", "BIGINT", "Records that hold the code: rows affected.", False),
    ),
    checks=(is_one_of("kind", "changed", "rerouted", "deprecated", "new_map"),),
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

RESTATED_RECORD = Table(
    name="gold.restated_record",
    comment="One row per silver record whose OMOP rows the last increment made anew.",
    owner=_OWNER,
    key=("source_table", "source_key"),
    columns=(
        Column("source_table", "STRING", "Silver table of the record.", False),
        key("source_key", "The record's key there."),
    ),
)

RESTATED_PERSON = Table(
    name="gold.restated_person",
    comment="One row per person whose rows the running restatement makes anew; empty between runs.",
    owner=_OWNER,
    key=("subject_key",),
    columns=(
        key("subject_key", "The person."),
        Column("is_whole", "BOOLEAN", "All of the person's resources are made anew.", False),
    ),
)

GONE_ROW = Table(
    name="gold.gone_row",
    comment="One row per OMOP row that the last increment's records may have had and do not have.",
    owner=_OWNER,
    key=("target_table", "omop_key"),
    columns=(
        Column("target_table", "STRING", "OMOP table, without its schema.", False),
        key("omop_key", "The row's key there."),
    ),
)

_FLAGS = "missing_unit, unknown_unit, no_conversion, annotations_differ, suspected or inferred"

UNIT_FACTOR = Table(
    name="gold.unit_factor",
    comment="One row per LOINC and unit seen: what leads to the unit the code is kept in.",
    owner=_OWNER,
    key=("loinc", "unit_from"),
    columns=(
        Column("loinc", "STRING", "Code as sent; empty where none was.", False),
        Column("unit_from", "STRING", "Unit as sent.", False),
        Column("unit_to", "STRING", "UCUM unit the code is kept in; null for an unknown unit."),
        Column("factor", "DOUBLE", "value in unit_to = value * factor + offset."),
        Column("offset", "DOUBLE", "Not 0 for temperatures."),
        Column("rule", "STRING", "Why this factor, or why there is none.", False),
        Column("is_known", "BOOLEAN", "There is a factor.", False),
    ),
)

UNIT_CONVERSION = Table(
    name="gold.unit_conversion",
    comment="One row per numeric omop.measurement: its value as sent and in its standard unit.",
    owner=_OWNER,
    key=("measurement_id",),
    columns=(
        key("measurement_id", "The measurement."),
        key("person_id", "The person."),
        key("site_key", "The visit's site, else the person's; 0 where none is known."),
        Column("loinc", "STRING", "Code as sent; empty where none was.", False),
        Column("value", "DOUBLE", "Value as sent, in `unit`.", False),
        Column("unit", "STRING", "Unit as sent (UCUM code, else text); empty for none.", False),
        Column("value_standard", "DOUBLE", "value * factor + offset, in unit_standard."),
        Column("unit_standard", "STRING", "UCUM unit the code is kept in; null without a factor."),
        Column("factor", "DOUBLE", "Null where no rule leads from the unit to the standard one."),
        Column("offset", "DOUBLE", "Not 0 for temperatures."),
        Column("rule", "STRING", "Why this factor: same_unit, ucum, mass_to_molar, ...", False),
        Column("unit_flag", "STRING", f"Null if all is well: {_FLAGS}."),
    ),
)

UNIT_SUSPICION = Table(
    name="gold.unit_suspicion",
    comment="One row per site, LOINC and labelled unit whose values look like another unit.",
    owner=_OWNER,
    key=("site_key", "loinc", "labelled_unit"),
    columns=(
        key("site_key", "The site."),
        Column("loinc", "STRING", "What was measured.", False),
        Column("labelled_unit", "STRING", "The unit the site wrote.", False),
        Column("suspected_unit", "STRING", "The unit that would explain the values.", False),
        Column("ratio", "DOUBLE", "Site's median over the other sites' median.", False),
        Column("expected_ratio", "DOUBLE", "What the suspected unit would make of it.", False),
        Column("bound", "DOUBLE", "Noise bound of ln(ratio), 4 standard errors.", False),
        Column("person_count", "INT", "People measured at the site.", False),
        Column("site_count", "INT", "Sites compared.", False),
        Column("factor", "DOUBLE", "From the suspected unit to the standard one."),
        Column("offset", "DOUBLE", "From the suspected unit to the standard one."),
        Column("is_inferred", "BOOLEAN", "Values were converted by the suspicion.", False),
    ),
)
