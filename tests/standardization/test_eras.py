"""Eras by OHDSI's published algorithm, on spans whose eras were worked out by hand."""

from datetime import date

import pytest

from clinical_lakehouse.standardization import eras, lineage
from clinical_lakehouse.tables.omop_clinical import CONDITION_OCCURRENCE, DRUG_EXPOSURE
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT, CONCEPT_ANCESTOR, DRUG_STRENGTH
from tests.builders import rows


def on(month: int, day: int) -> date:
    return date(2024, month, day)


# concept, start, end. 10 January + 30 days is 9 February; 12 February + 30 days is 13 March.
CONDITIONS = [
    (100, on(1, 1), on(1, 10)), (100, on(2, 9), on(2, 12)), (100, on(3, 14), None),
    # The long one covers the short one: what follows continues the long one.
    (200, on(1, 1), on(6, 30)), (200, on(2, 1), on(2, 5)), (200, on(7, 15), on(7, 16)),
    (0, on(1, 1), on(1, 2)),
]  # fmt: skip
# drug, start, end, quantity, days of supply: 901 holds 900 and 910, 902 holds 900.
DRUGS = [
    (901, on(1, 1), on(1, 10), 20.0, 10), (902, on(1, 5), on(1, 20), None, None),
    (900, on(2, 10), on(2, 15), None, None), (901, on(6, 1), on(6, 10), 10.0, 10),
    (0, on(1, 1), on(1, 2), 1.0, 1), (999, on(1, 1), on(1, 2), 1.0, 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    from clinical_lakehouse.runtime.lake import Lakehouse

    lake = Lakehouse(spark, tmp_path_factory.mktemp("eras") / "lake")
    ordered = [
        {"condition_occurrence_id": n, "condition_concept_id": c, "condition_start_date": a,
         "condition_end_date": z} for n, (c, a, z) in enumerate(CONDITIONS)]  # fmt: skip
    taken = [
        {"drug_exposure_id": n, "drug_concept_id": c, "drug_exposure_start_date": a,
         "drug_exposure_end_date": z, "quantity": q, "days_supply": s}
        for n, (c, a, z, q, s) in enumerate(DRUGS)]  # fmt: skip
    concepts = [{"concept_id": n, "vocabulary_id": "RxNorm", "concept_class_id": "Ingredient",
                 "standard_concept": "S"} for n in (900, 910)]  # fmt: skip
    above = [(900, 901), (910, 901), (900, 902), (55, 901)]
    names = ("ancestor_concept_id", "descendant_concept_id")
    strength = {"drug_concept_id": 901, "ingredient_concept_id": 900, "amount_value": 500.0,
                "amount_unit_concept_id": 8576}  # fmt: skip
    exposures = rows(lake, DRUG_EXPOSURE, *taken)
    ancestors = rows(lake, CONCEPT_ANCESTOR, *(dict(zip(names, p, strict=True)) for p in above))
    known = eras.ingredients(rows(lake, CONCEPT, *concepts), ancestors)
    conditions = rows(lake, CONDITION_OCCURRENCE, *ordered)
    strengths = rows(lake, DRUG_STRENGTH, strength)
    doses = eras.dose_eras(exposures, strengths)
    members = lineage.dose_era_members(doses, eras.daily_doses(exposures, strengths))
    return {
        "members": members.select("dose_value", "drug_exposure_id").collect(),
        "condition": eras.condition_eras(conditions).collect(),
        "shuffled": eras.condition_eras(
            rows(lake, CONDITION_OCCURRENCE, *ordered[::-1]).repartition(3)
        ).collect(),
        "drug": eras.drug_eras(exposures, known).collect(),
        "dose": doses.collect(),
    }


def test_a_gap_of_thirty_days_is_bridged_and_one_of_thirty_one_is_not(made):
    found = {
        (r.condition_concept_id, r.condition_era_start_date, r.condition_era_end_date,
         r.condition_occurrence_count) for r in made["condition"]}  # fmt: skip
    assert found == {
        (100, on(1, 1), on(2, 12), 2),
        (100, on(3, 14), on(3, 15), 1),  # without an end: until the next day
        (200, on(1, 1), on(7, 16), 3),
    }


def test_eras_are_the_same_in_any_order_and_their_keys_differ(made):
    assert sorted(made["condition"]) == sorted(made["shuffled"])
    keys = [row.condition_era_id for row in made["condition"]]
    assert len(set(keys)) == len(keys) and min(keys) > 0


def test_drug_era_counts_exposures_of_an_ingredient_and_days_without_one(made):
    """1 to 20 January is 19 days, 10 to 15 February 5; the era has 45: 21 of them without."""
    found = {
        (r.drug_concept_id, r.drug_era_start_date, r.drug_era_end_date, r.drug_exposure_count,
         r.gap_days) for r in made["drug"]}  # fmt: skip
    assert found == {
        (900, on(1, 1), on(2, 15), 3, 21),
        (900, on(6, 1), on(6, 10), 1, 0),
        (910, on(1, 1), on(1, 10), 1, 0),
        (910, on(6, 1), on(6, 10), 1, 0),
    }


def test_dose_era_has_the_daily_dose_of_the_ingredient(made):
    """20 tablets of 500 mg in 10 days are 1,000 mg a day, 10 are 500 mg."""
    found = {(r.drug_concept_id, r.unit_concept_id, r.dose_value, r.dose_era_start_date)
             for r in made["dose"]}  # fmt: skip
    assert found == {(900, 8576, 1000.0, on(1, 1)), (900, 8576, 500.0, on(6, 1))}


def test_each_dose_era_leads_to_the_exposures_it_is_made_of(made):
    assert sorted(map(tuple, made["members"])) == [(500.0, 3), (1000.0, 0)]
