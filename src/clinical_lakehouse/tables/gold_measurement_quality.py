"""Gold: measurements and sites whose values look wrong, by which rule, and what was expected."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, is_one_of, key

_OWNER = "data-quality"
RULES = (
    *("unit_mixup", "decimal_slip", "robust_z", "reference_change", "copied_visit"),
    *("swapped_subject", "date_shift", "frozen_device"),
)
SITE_RULES = ("digit_preference", "site_shift")

_DATE = Phi.PSEUDONYM

MEASUREMENT_LEVEL = Table(
    name="gold.measurement_level",
    comment="One row per numeric measurement beside its person's and its test's usual level.",
    owner=_OWNER,
    key=("measurement_id",),
    columns=(
        key("measurement_id", "The measurement in omop.measurement."),
        key("person_id", "The person."),
        key("site_key", "The site; 0 where none is known."),
        Column("loinc", "STRING", "What was measured; empty where no code was sent.", False),
        Column("unit_flag", "STRING", "Of gold.unit_conversion."),
        Column("day", "DATE", "Day of the measurement.", phi=_DATE),
        Column("at", "TIMESTAMP", "Its time, else the day's first moment.", phi=_DATE),
        key("visit_occurrence_id", "The visit it belongs to.", nullable=True),
        Column("visit_start_date", "DATE", "The visit's first day.", phi=_DATE),
        Column("visit_end_date", "DATE", "The visit's last day.", phi=_DATE),
        Column("value", "DOUBLE", "As sent.", False),
        Column("level", "DOUBLE", "In the standard unit, else as sent.", False),
        Column("unit", "STRING", "The unit of `level`; empty where none was sent.", False),
        Column("person_level", "DOUBLE", "Median of the person's values of the test.", False),
        Column("person_count", "BIGINT", "How many they are.", False),
        Column("test_level", "DOUBLE", "Median of all values of the test.", False),
        Column("test_mad", "DOUBLE", "Median distance from it.", False),
        Column("sigma_within", "DOUBLE", "Spread of ln(value) of one person.", False),
        Column("sigma_all", "DOUBLE", "Spread of ln(value) of all people.", False),
        Column("repeat_ratio", "DOUBLE", "How often a value is that of the time before.", False),
    ),
)

MEASUREMENT_ANOMALY = Table(
    name="gold.measurement_anomaly",
    comment="One row per measurement and rule that it breaks; a suspicion, never a correction.",
    owner=_OWNER,
    key=("measurement_id", "rule"),
    columns=(
        key("measurement_id", "The measurement in omop.measurement."),
        Column("rule", "STRING", f"{', '.join(RULES)}.", False),
        key("person_id", "The person."),
        key("site_key", "The site; 0 where none is known."),
        Column("loinc", "STRING", "What was measured; empty where no code was sent.", False),
        Column("value", "DOUBLE", "What was judged: the value in its standard unit, else days."),
        Column("expected_low", "DOUBLE", "Lowest value that the rule would let pass."),
        Column("expected_high", "DOUBLE", "Highest value that the rule would let pass."),
        Column("score", "DOUBLE", "How far out, on the rule's own scale.", False),
        Column("detail", "STRING", "What would explain it, in words of the rule."),
    ),
    checks=(is_one_of("rule", *RULES),),
)

SITE_ANOMALY = Table(
    name="gold.site_anomaly",
    comment="One row per site, LOINC and rule that the site's values break together.",
    owner=_OWNER,
    key=("site_key", "loinc", "rule"),
    columns=(
        key("site_key", "The site."),
        Column("loinc", "STRING", "What was measured.", False),
        Column("rule", "STRING", f"{', '.join(SITE_RULES)}.", False),
        Column("value", "DOUBLE", "What was judged: share of a digit, or the shifted mean.", False),
        Column("expected_low", "DOUBLE", "Lowest the rule would let pass.", False),
        Column("expected_high", "DOUBLE", "Highest the rule would let pass.", False),
        Column("score", "DOUBLE", "Chi-square or height of the CUSUM.", False),
        Column("since", "DATE", "First week of a shift."),
        Column("detail", "STRING", "Which digit, or which charts.", False),
    ),
    checks=(is_one_of("rule", *SITE_RULES),),
)
