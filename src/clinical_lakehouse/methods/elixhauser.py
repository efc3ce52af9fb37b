"""Elixhauser comorbidities as Columns: ICD-10 groups of Quan 2005, weights of van Walraven."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.methods.comorbidity import (
    Group,
    in_group,
    plain_code,
    weighted_index,
)

_LUNG = "I278 I279 J40-J47 J60-J67 J684 J701 J703"
_VESSELS = "I70 I71 I731 I738 I739 I771 I790 I792 K551 K558 K559 Z958 Z959"
_HEART = "I099 I110 I130 I132 I255 I420 I425-I429 I43 I50 P290"

# Quan et al., Med Care 2005;43:1130-9, table 2; van Walraven et al., Med Care 2009;47:626-33. No
# SNOMED CT: nobody has published these groups in it. A code may belong to two groups.
GROUPS = (
    Group("heart_failure", 7, _HEART, ""),
    Group(
        "arrhythmia",
        5,
        "I441-I443 I456 I459 I47-I49 R000 R001 R008 T821 Z450 Z950",
        "",
    ),
    Group(
        "valvular",
        -1,
        "A520 I05-I08 I091 I098 I34-I39 Q230-Q233 Z952-Z954",
        "",
    ),
    Group("pulmonary_circulation", 4, "I26 I27 I280 I288 I289", ""),
    Group("peripheral_vascular", 2, _VESSELS, ""),
    Group("hypertension", 0, "I10", "", "hypertension_complicated"),
    Group("hypertension_complicated", 0, "I11-I13 I15", ""),
    Group("paralysis", 7, "G041 G114 G801 G802 G81 G82 G830-G834 G839", ""),
    Group(
        "other_neurological",
        6,
        "G10-G13 G20-G22 G254 G255 G312 G318 G319 G32 G35-G37 G40 G41 G931 G934 R470 R56",
        "",
    ),
    Group("chronic_pulmonary", 3, _LUNG, ""),
    Group(
        "diabetes",
        0,
        "E100 E101 E109 E110 E111 E119 E120 E121 E129 E130 E131 E139 E140 E141 E149",
        "",
        "diabetes_complicated",
    ),
    Group(
        "diabetes_complicated",
        0,
        "E102-E108 E112-E118 E122-E128 E132-E138 E142-E148",
        "",
    ),
    Group("hypothyroidism", 0, "E00-E03 E890", ""),
    Group("renal_failure", 5, "I120 I131 N18 N19 N250 Z490-Z492 Z940 Z992", ""),
    Group(
        "liver",
        11,
        "B18 I85 I864 I982 K70 K711 K713-K715 K717 K72-K74 K760 K762-K769 Z944",
        "",
    ),
    Group("peptic_ulcer", 0, "K257 K259 K267 K269 K277 K279 K287 K289", ""),
    Group("hiv", 0, "B20-B22 B24", ""),
    Group("lymphoma", 9, "C81-C85 C88 C96 C900 C902", ""),
    Group("metastatic", 12, "C77-C80", ""),
    Group(
        "solid_tumour",
        4,
        "C00-C26 C30-C34 C37-C41 C43 C45-C58 C60-C76 C97",
        "",
        "metastatic",
    ),
    Group(
        "rheumatic",
        0,
        "L940 L941 L943 M05 M06 M08 M120 M123 M30 M310-M313 M32-M35 M45 M461 M468 M469",
        "",
    ),
    Group("coagulopathy", 3, "D65-D68 D691 D693-D696", ""),
    Group("obesity", -4, "E66", ""),
    Group("weight_loss", 6, "E40-E46 R634 R64", ""),
    Group("fluid_electrolyte", 5, "E222 E86 E87", ""),
    Group("blood_loss_anaemia", -2, "D500", ""),
    Group("deficiency_anaemia", -2, "D508 D509 D51-D53", ""),
    Group(
        "alcohol",
        0,
        "F10 E52 G621 I426 K292 K700 K703 K709 T51 Z502 Z714 Z721",
        "",
    ),
    Group("drug_abuse", -7, "F11-F16 F18 F19 Z715 Z722", ""),
    Group("psychosis", 0, "F20 F22-F25 F28 F29 F302 F312 F315", ""),
    Group("depression", -3, "F204 F313-F315 F32 F33 F341 F412 F432", ""),
)


def elixhauser_categories(code: Column) -> Column:
    """ARRAY<STRING>: the groups (none, one or two) that an ICD-10(-CM) code belongs to."""
    plain = plain_code(code)
    found = [F.when(in_group(plain, group), group.name) for group in GROUPS]
    return F.array_compact(F.array(*found))


def elixhauser_score(categories: str) -> Column:
    """The van Walraven index (INT, -19 to 85) of an array column of groups; the milder form of a
    disease does not count beside the graver one."""
    return weighted_index(GROUPS, categories)
