"""Units against UCUM's own files and a published table of lab factors."""

import csv
import json
from xml.etree import ElementTree

import pytest

from clinical_lakehouse.methods.lab_analytes import ANALYTES, analyte_of, molar_mass
from clinical_lakehouse.methods.units import conversion, is_ucum

_NS = "{http://unitsofmeasure.org/ucum-essence}"


@pytest.mark.parametrize(
    ("formula", "grams"),
    # PubChem: glucose, creatinine, cholesterol, triolein, bilirubin
    [("C6H12O6", 180.156), ("C4H7N3O", 113.12), ("C27H46O", 386.65), ("C57H104O6", 885.4),
     ("C33H36N4O6", 584.7)],
)  # fmt: skip
def test_molar_mass_of_a_formula(formula, grams):
    assert molar_mass(formula) == pytest.approx(grams, rel=1e-4)


@pytest.mark.parametrize("unit", ["mg/dL", "mg/dl", "10*3/uL", "10^3/uL", "[iU]/L", "mm[Hg]", "1"])
def test_valid_units(unit):
    assert is_ucum(unit)


@pytest.mark.parametrize(
    "unit", ["10+3/ul", "", " mg", "mcg", "mmHg", "MG/DL", "iU", "mg/dL{", "0"]
)
def test_invalid_units(unit):
    assert not is_ucum(unit)
    assert conversion(unit, "mg/dL").factor is None
    assert conversion(unit, unit).rule == "unknown_unit"


def test_official_examples_are_valid_but_for_the_one_ucum_does_not_define(public_data):
    path = public_data("terminology") / "ucum/ucum_examples.tsv"
    with path.open(encoding="utf-8") as file:
        codes = [row["UCUM_CODE"] for row in csv.DictReader(file, delimiter="\t")]
    assert len(codes) == 848
    assert [code for code in codes if not is_ucum(code)] == ["Torr"]


# Sizes pint has otherwise than UCUM, and units the library cannot relate to their definition: an
# ' that it reads as a minute of time, CGS magnetism, two volumes, g%, a chain of disputed rods.
_DISPUTED = ("[rd_br]", "[Cal]", "[Btu]", "[in_i'H2O]", "[in_i'Hg]", "[LPF]")
_NOT_IN_PINT = ("'", "Mx", "G", "Oe", "Gb", "[cft_i]", "[cyd_i]", "g%", "[ch_br]")


def test_every_unit_of_the_essence_has_the_size_that_defines_it(public_data):
    tree = ElementTree.parse(public_data("terminology") / "ucum/ucum-essence.xml").getroot()
    right, wrong, refused = 0, [], []
    for unit in tree.iter(f"{_NS}unit"):
        code, value = unit.get("Code"), unit.find(f"{_NS}value")
        assert is_ucum(code)
        if unit.get("isSpecial") == "yes" or unit.get("isArbitrary") == "yes":
            continue
        defined, size = value.get("Unit"), value.get("value")
        found = conversion(code, defined)
        if found.factor is None:
            refused.append(code)
        elif found.factor == pytest.approx(float(size), rel=2e-4):
            right += 1
        else:
            wrong.append((code, defined, float(size), found.factor))
    assert not wrong
    assert right == 225
    assert set(refused) == {*_NOT_IN_PINT, *_DISPUTED, "eq", "osm", "mol"}


_PLAIN = {"μ": "u", "24 h": "d", "day": "d", "uKat": "ukat", "IU": "[iU]",
          "mOsm": "mosm", "mEq": "meq", " H2O": "", "nmol/(s L)": "nmol/s/L", "mU/mL": "mU/mL",
          "MU/mol Hb": "MU/mol", "U/g of Hb": "U/g"}  # fmt: skip


_REFUSED = {"1986-9", "15061-5", "1769-9", "32546-4", "20448-7", "15082-1", "1952-1", "2692-2",
            "2695-5", "2942-1"}  # fmt: skip


def _as_ucum(text):
    if text.startswith("%"):
        return "%"
    if text.startswith("Fraction"):
        return "1"
    for old, new in _PLAIN.items():
        text = text.replace(old, new)
    return text


def test_published_lab_factors(public_data):
    path = public_data("terminology") / "ucum/analytes.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    right, other, refused = [], {}, {}
    for loinc, row in table.items():
        units = _as_ucum(row["traditional_units"]), _as_ucum(row["si_units"])
        found = conversion(*units, analyte_of(loinc))
        if found.factor is None:
            refused[loinc] = (row["name"], *units, found.rule)
        elif found.factor == pytest.approx(row["conversion_factor"], rel=0.03):
            right.append(loinc)
        else:
            other[loinc] = (row["name"], *units, row["conversion_factor"], found.factor)
    assert len(table) == 133 and len(right) == 120
    # The table's own slips: U/mL is 1000 U/L, pg/mL of norepinephrine is 5.91 pmol/L,
    # and calcitriol's 416.6 g/mol make a factor of 2.4, not 2.6.
    assert set(other) == {"2099-0", "2666-6", "62290-2"}
    # Proteins without one molar mass, fatty acids, insulin's and erythropoietin's biological units,
    # osmoles.
    assert set(refused) == _REFUSED


@pytest.mark.parametrize(
    ("source", "target", "factor", "offset"),
    [("Cel", "[degF]", 1.8, 32), ("[degF]", "Cel", 1 / 1.8, -32 / 1.8), ("K", "Cel", 1, -273.15),
     ("mg/dL", "g/L", 0.01, 0), ("10*3/uL", "10*9/L", 1, 0), ("[lb_av]", "kg", 0.45359237, 0),
     ("[in_i]", "cm", 2.54, 0), ("mm[Hg]", "kPa", 0.133322387415, 0), ("m[IU]/L", "u[IU]/mL", 1, 0),
     ("[iU]/L", "[IU]/L", 1, 0), ("U/L", "ukat/L", 1 / 60, 0)],
)  # fmt: skip
def test_conversions_by_definition(source, target, factor, offset):
    found = conversion(source, target)
    assert (found.factor, found.offset) == pytest.approx((factor, offset), rel=1e-6)


def test_mass_meets_moles_only_by_a_molar_mass():
    glucose = ANALYTES["2345-7"]
    assert conversion("mg/dL", "mmol/L").factor is None
    there, back = conversion("mg/dL", "mmol/L", glucose), conversion("mmol/L", "mg/dL", glucose)
    assert (there.rule, back.rule) == ("mass_to_molar", "molar_to_mass")
    assert there.factor == pytest.approx(1 / 18.0156) and back.factor == pytest.approx(18.0156)


@pytest.mark.parametrize(
    ("source", "target"),
    [("[IU]/L", "U/L"), ("[IU]/L", "/L"), ("[arb'U]/mL", "[IU]/mL"), ("[pH]", "mol/L"),
     ("meq/L", "mmol/L"), ("mosm/kg", "mmol/kg"), ("ug/L{DDU}", "ug/L{FEU}"), ("B", "1"),
     ("mg/dL", "kg"), ("Cel/h", "K/h")],
)  # fmt: skip
def test_what_does_not_convert(source, target):
    assert conversion(source, target).factor is None
    assert conversion(source, source).factor == 1.0


def test_an_enzyme_unit_is_never_a_mass():
    assert conversion("U/L", "g/s/L", ANALYTES["2345-7"]).factor is None


def test_equivalents_meet_moles_by_valence():
    assert conversion("meq/L", "mmol/L", ANALYTES["2601-3"]).factor == 0.5
    assert conversion("meq/L", "mmol/L", ANALYTES["2951-2"]).factor == 1.0
