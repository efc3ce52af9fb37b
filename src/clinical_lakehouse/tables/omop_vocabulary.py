"""OMOP CDM 5.4 vocabulary tables, as an Athena download brings them."""

from clinical_lakehouse.tables.contract import Column, Table
from clinical_lakehouse.tables.omop_columns import OWNER, concept, number, text, valid


def _table(name: str, grain: str, key: tuple[str, ...], *columns: Column) -> Table:
    return Table(f"omop.{name}", f"One row per {grain}.", OWNER, key, columns)


CONCEPT = _table(
    "concept",
    "concept of any vocabulary",
    ("concept_id",),
    concept("concept_id", "The concept.", True),
    text("concept_name", "Its name.", True),
    text("domain_id", "Which CDM table its records belong to.", True),
    text("vocabulary_id", "The vocabulary it comes from.", True),
    text("concept_class_id", "Its kind within the vocabulary.", True),
    text("standard_concept", "S standard, C for classification, null for source codes."),
    text("concept_code", "Its code in the vocabulary.", True),
    *valid(),
)
CONCEPT_RELATIONSHIP = _table(
    "concept_relationship",
    "directed relation between two concepts",
    ("concept_id_1", "concept_id_2", "relationship_id"),
    concept("concept_id_1", "From this concept.", True),
    concept("concept_id_2", "To this concept.", True),
    text("relationship_id", "What the relation is, e.g. Maps to.", True),
    *valid(),
)
VOCABULARY = _table(
    "vocabulary",
    "vocabulary; the entry None holds the version of the whole",
    ("vocabulary_id",),
    text("vocabulary_id", "The vocabulary.", True),
    text("vocabulary_name", "Its full name.", True),
    text("vocabulary_reference", "Where it is published."),
    text("vocabulary_version", "Its version."),
    concept("vocabulary_concept_id", "The concept that stands for it.", True),
)
DOMAIN = _table(
    "domain",
    "domain",
    ("domain_id",),
    text("domain_id", "The domain.", True),
    text("domain_name", "Its name.", True),
    concept("domain_concept_id", "The concept that stands for it.", True),
)
CONCEPT_CLASS = _table(
    "concept_class",
    "concept class",
    ("concept_class_id",),
    text("concept_class_id", "The class.", True),
    text("concept_class_name", "Its name.", True),
    concept("concept_class_concept_id", "The concept that stands for it.", True),
)
RELATIONSHIP = _table(
    "relationship",
    "kind of relation",
    ("relationship_id",),
    text("relationship_id", "The kind.", True),
    text("relationship_name", "Its name.", True),
    text("is_hierarchical", "1 where it orders concepts into a hierarchy.", True),
    text("defines_ancestry", "1 where it feeds concept_ancestor.", True),
    text("reverse_relationship_id", "The same relation read backwards.", True),
    concept("relationship_concept_id", "The concept that stands for it.", True),
)
CONCEPT_ANCESTOR = _table(
    "concept_ancestor",
    "ancestor and descendant",
    ("ancestor_concept_id", "descendant_concept_id"),
    concept("ancestor_concept_id", "The wider concept.", True),
    concept("descendant_concept_id", "The narrower one, or the same.", True),
    number("min_levels_of_separation", "Steps on the shortest way.", "INT", True),
    number("max_levels_of_separation", "Steps on the longest way.", "INT", True),
)
CONCEPT_SYNONYM = _table(
    "concept_synonym",
    "other name of a concept",
    ("concept_id", "concept_synonym_name", "language_concept_id"),
    concept("concept_id", "The concept.", True),
    text("concept_synonym_name", "Another name for it.", True),
    concept("language_concept_id", "The name's language.", True),
)
DRUG_STRENGTH = _table(
    "drug_strength",
    "drug and ingredient",
    ("drug_concept_id", "ingredient_concept_id"),
    concept("drug_concept_id", "The drug product.", True),
    concept("ingredient_concept_id", "The ingredient.", True),
    number("amount_value", "Amount in a solid form."),
    concept("amount_unit_concept_id", "Unit of the amount."),
    number("numerator_value", "Amount in a volume, or per time."),
    concept("numerator_unit_concept_id", "Unit of that amount."),
    number("denominator_value", "The volume or time."),
    concept("denominator_unit_concept_id", "Unit of the volume or time."),
    number("box_size", "Units in a box.", "INT"),
    *valid(),
)
SOURCE_TO_CONCEPT_MAP = _table(
    "source_to_concept_map",
    "source code that a person has mapped, and standard concept",
    ("source_vocabulary_id", "source_code", "target_concept_id"),
    text("source_code", "Code as the source sends it.", True),
    concept("source_concept_id", "Concept of the code itself, 0 where none.", True),
    text("source_vocabulary_id", "As gold.unmapped_code lists it: a vocabulary or a system.", True),
    text("source_code_description", "What the code means."),
    concept("target_concept_id", "Standard concept it maps to.", True),
    text("target_vocabulary_id", "Vocabulary of that concept.", True),
    *valid(),
)

# What an Athena download brings, by the name of its file; the last one is the person's own.
ATHENA_FILES: dict[str, Table] = {
    f"{table.short_name.upper()}.csv": table
    for table in (
        CONCEPT,
        CONCEPT_RELATIONSHIP,
        VOCABULARY,
        DOMAIN,
        CONCEPT_CLASS,
        RELATIONSHIP,
        CONCEPT_ANCESTOR,
        CONCEPT_SYNONYM,
        DRUG_STRENGTH,
        SOURCE_TO_CONCEPT_MAP,
    )
}
