"""Charlson comorbidity index: ICD-10 groups of Quan 2005, weights of Charlson 1987, as Columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F


@dataclass(frozen=True)
class Group:
    """A comorbidity: its weight, ICD-10 prefixes (without dots), usual SNOMED CT codes, and the
    graver group that takes its place."""

    name: str
    weight: int
    icd10: str
    snomed: str
    yields_to: str | None = None


# Quan et al., Med Care 2005;43:1130-9, table 1; Charlson et al., J Chronic Dis 1987;40:373-83.
# "C00-C26" stands for every three-character category between them.
GROUPS = (
    Group("myocardial_infarction", 1, "I21 I22 I252", "22298006 399211009 1755008"),
    Group(
        "heart_failure",
        1,
        "I099 I110 I130 I132 I255 I420 I425 I426 I427 I428 I429 I43 I50 P290",
        "84114007 42343007 85232009 88805009",
    ),
    Group(
        "peripheral_vascular",
        1,
        "I70 I71 I731 I738 I739 I771 I790 I792 K551 K558 K559 Z958 Z959",
        "399957001 400047006 233985008",
    ),
    Group("cerebrovascular", 1, "G45 G46 H340 I60-I69", "230690007 266257000 62914000"),
    Group("dementia", 1, "F00-F03 F051 G30 G311", "52448006 26929004 429998004"),
    Group(
        "chronic_pulmonary",
        1,
        "I278 I279 J40-J47 J60-J67 J684 J701 J703",
        "13645005 195967001 185086009 87433001",
    ),
    Group("rheumatic", 1, "M05 M06 M315 M32-M34 M351 M353 M360", "69896004 55464009 65323003"),
    Group("peptic_ulcer", 1, "K25-K28", "13200003 397825006 51868009"),
    Group(
        "mild_liver",
        1,
        "B18 K700-K703 K709 K713-K715 K717 K73 K74 K760 K762-K764 K768 K769 Z944",
        "19943007 128302006 61977001 197321007",
        "severe_liver",
    ),
    Group(
        "diabetes",
        1,
        "E100 E101 E106 E108 E109 E110 E111 E116 E118 E119 E120 E121 E126 E128 E129 "
        "E130 E131 E136 E138 E139 E140 E141 E146 E148 E149",
        "44054006 46635009 73211009",
        "diabetes_complicated",
    ),
    Group(
        "diabetes_complicated",
        2,
        "E102-E105 E107 E112-E115 E117 E122-E125 E127 E132-E135 E137 E142-E145 E147",
        "127013003 4855003 230572002 422034002 368581000119106 90781000119102",
    ),
    Group(
        "hemiplegia",
        2,
        "G041 G114 G801 G802 G81 G82 G830-G834 G839",
        "50582007 60389000 11538006",
    ),
    Group(
        "renal",
        2,
        "I120 I131 N032-N037 N052-N057 N18 N19 N250 Z490-Z492 Z940 Z992",
        "709044004 431855005 431856006 433144002 431857002 433146000 46177005",
    ),
    Group(
        "malignancy",
        2,
        "C00-C26 C30-C34 C37-C41 C43 C45-C58 C60-C76 C81-C85 C88 C90-C97",
        "363346000 254837009 254637007 93761005 363406005 93143009 118600007",
        "metastatic",
    ),
    Group(
        "severe_liver",
        3,
        "I850 I859 I864 I982 K704 K711 K721 K729 K765 K766 K767",
        "59927004 34742003 28670008",
    ),
    Group("metastatic", 6, "C77-C80", "128462008 94260004 94222008"),
    Group("hiv", 6, "B20 B21 B22 B24", "62479008 86406008"),
)


def charlson_category(code: Column) -> Column:
    """The comorbidity group that an ICD-10(-CM) or SNOMED CT code belongs to, else null."""
    plain = plain_code(code)
    found = F.lit(None).cast("string")
    for group in GROUPS:
        found = F.when(in_group(plain, group), group.name).otherwise(found)
    return found


def charlson_score(categories: str) -> Column:
    """The index (INT, 0 or more) of an array column of groups; the milder form of a disease does
    not count beside the graver one."""
    return weighted_index(GROUPS, categories)


def weighted_index(groups: Sequence[Group], categories: str) -> Column:
    """INT: the weights of the groups that an array column holds, added up; the milder form of a
    disease does not count beside the graver one."""
    total = F.lit(0)
    for group in groups:
        counts = F.array_contains(categories, group.name)
        if group.yields_to:
            counts &= ~F.array_contains(categories, group.yields_to)
        total += F.when(counts, group.weight).otherwise(0)
    return total


def plain_code(code: Column) -> Column:
    """A code as the groups' lists have it: upper case, without dots."""
    return F.upper(F.replace(code, F.lit("."), F.lit("")))


def in_group(plain: Column, group: Group) -> Column:
    """BOOLEAN: a plain code is one of the group's, of ICD-10 or of SNOMED CT."""
    of_icd10 = plain.rlike(pattern(group))
    return of_icd10 | plain.isin(*group.snomed.split()) if group.snomed else of_icd10


def pattern(group: Group) -> str:
    """The regular expression of a group's ICD-10 codes, without dots."""
    return f"^({'|'.join(prefixes(group.icd10))})"


def prefixes(listed: str) -> Iterator[str]:
    """Each prefix of a list; "I60-I69" is expanded by its last digits."""
    for entry in listed.split():
        first, _, last = entry.partition("-")
        letter, width = first[0], len(first) - 1
        for number in range(int(first[1:]), int((last or first)[1:]) + 1):
            yield f"{letter}{number:0{width}d}"
