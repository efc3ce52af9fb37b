"""What a LOINC lab code measures: molar mass by formula, valence, and the unit it is kept in."""

import re
from dataclasses import dataclass

# g/mol: abridged standard atomic weights, IUPAC 2021 (Prohaska et al. 2022).
_ATOMIC_WEIGHTS = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "Na": 22.990, "Mg": 24.305,
    "Al": 26.982, "P": 30.974, "S": 32.06, "Cl": 35.45, "K": 39.098, "Ca": 40.078, "Cr": 51.996,
    "Mn": 54.938, "Fe": 55.845, "Co": 58.933, "Ni": 58.693, "Cu": 63.546, "Zn": 65.38,
    "As": 74.922, "Se": 78.971, "Hg": 200.59, "Pb": 207.2, "Bi": 208.98, "Li": 6.94, "I": 126.90,
}  # fmt: skip


@dataclass(frozen=True)
class Analyte:
    """One LOINC code: name, chemical formula (of what the mass is counted as), valence of the ion,
    and the UCUM unit its values are standardised to (none: left as sent)."""

    name: str
    formula: str | None = None
    valence: int | None = None
    unit: str | None = None

    @property
    def molar_mass(self) -> float | None:
        """g/mol, from IUPAC atomic weights; null where one molecule is not what is measured."""
        return molar_mass(self.formula) if self.formula else None


def molar_mass(formula: str) -> float:
    """Molar mass of a chemical formula in g/mol (IUPAC 2021); KeyError for an unknown element."""
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return round(sum(_ATOMIC_WEIGHTS[e] * int(n or 1) for e, n in parts), 3)


def analyte_of(loinc: str | None) -> Analyte | None:
    """The analyte of a LOINC code; None for one that is not listed."""
    return ANALYTES.get(loinc or "")


# Mass of an ion is counted as the element, of urea nitrogen as its two N, of iron-binding capacity
# as iron, of triglycerides as triolein (the convention of the AMA's SI conversion table).
ANALYTES = {
    "2345-7": Analyte("Glucose", "C6H12O6", unit="mg/dL"),
    "2339-0": Analyte("Glucose, blood", "C6H12O6", unit="mg/dL"),
    "2342-4": Analyte("Glucose, CSF", "C6H12O6", unit="mg/dL"),
    "14749-6": Analyte("Glucose, molar", "C6H12O6", unit="mmol/L"),
    "2160-0": Analyte("Creatinine", "C4H7N3O", unit="mg/dL"),
    "38483-4": Analyte("Creatinine, blood", "C4H7N3O", unit="mg/dL"),
    "14682-9": Analyte("Creatinine, molar", "C4H7N3O", unit="umol/L"),
    "2162-6": Analyte("Creatinine, urine 24 h", "C4H7N3O"),
    "3094-0": Analyte("Urea nitrogen", "N2", unit="mg/dL"),
    "6299-2": Analyte("Urea nitrogen, blood", "N2", unit="mg/dL"),
    "2093-3": Analyte("Cholesterol", "C27H46O", unit="mg/dL"),
    "14647-2": Analyte("Cholesterol, molar", "C27H46O", unit="mmol/L"),
    "2085-9": Analyte("HDL cholesterol", "C27H46O", unit="mg/dL"),
    "13457-7": Analyte("LDL cholesterol", "C27H46O", unit="mg/dL"),
    "18262-6": Analyte("LDL cholesterol, direct", "C27H46O", unit="mg/dL"),
    "2571-8": Analyte("Triglycerides", "C57H104O6", unit="mg/dL"),
    "17861-6": Analyte("Calcium", "Ca", 2, "mg/dL"),
    "49765-1": Analyte("Calcium, blood", "Ca", 2, "mg/dL"),
    "17864-0": Analyte("Calcium, ionized", "Ca", 2),
    "2951-2": Analyte("Sodium", "Na", 1, "mmol/L"),
    "2947-0": Analyte("Sodium, blood", "Na", 1, "mmol/L"),
    "2823-3": Analyte("Potassium", "K", 1, "mmol/L"),
    "6298-4": Analyte("Potassium, blood", "K", 1, "mmol/L"),
    "2075-0": Analyte("Chloride", "Cl", 1, "mmol/L"),
    "2069-3": Analyte("Chloride, blood", "Cl", 1, "mmol/L"),
    "2070-1": Analyte("Chloride, CSF", "Cl", 1),
    "1963-8": Analyte("Bicarbonate", None, 1, "mmol/L"),
    "2028-9": Analyte("Carbon dioxide", None, 1, "mmol/L"),
    "19123-9": Analyte("Magnesium", "Mg", 2),
    "2601-3": Analyte("Magnesium, molar", "Mg", 2),
    "1975-2": Analyte("Bilirubin", "C33H36N4O6", unit="mg/dL"),
    "3084-1": Analyte("Urate", "C5H4N4O3", unit="mg/dL"),
    "2777-1": Analyte("Phosphate", "P", unit="mg/dL"),
    "2498-4": Analyte("Iron", "Fe", unit="ug/dL"),
    "2500-7": Analyte("Iron-binding capacity", "Fe", unit="ug/dL"),
    "1751-7": Analyte("Albumin", unit="g/dL"),
    "2885-2": Analyte("Protein", unit="g/dL"),
    "718-7": Analyte("Hemoglobin", unit="g/dL"),
    "4548-4": Analyte("Hemoglobin A1c fraction", unit="%"),
    "777-3": Analyte("Platelets", unit="10*3/uL"),
    "6690-2": Analyte("Leukocytes", unit="10*3/uL"),
    "789-8": Analyte("Erythrocytes", unit="10*6/uL"),
    "1742-6": Analyte("Alanine aminotransferase", unit="U/L"),
    "1920-8": Analyte("Aspartate aminotransferase", unit="U/L"),
    "6768-6": Analyte("Alkaline phosphatase", unit="U/L"),
    "8310-5": Analyte("Body temperature", unit="Cel"),
    "29463-7": Analyte("Body weight", unit="kg"),
    "8302-2": Analyte("Body height", unit="cm"),
    "39156-5": Analyte("Body mass index", unit="kg/m2"),
    "8480-6": Analyte("Systolic blood pressure", unit="mm[Hg]"),
    "8462-4": Analyte("Diastolic blood pressure", unit="mm[Hg]"),
    "8867-4": Analyte("Heart rate", unit="/min"),
    "9279-1": Analyte("Respiratory rate", unit="/min"),
    "5568-1": Analyte("Acetone", "C3H6O"),
    "1768-1": Analyte("Aldosterone", "C21H28O5"),
    "1765-7": Analyte("Aldosterone, urine 24 h", "C21H28O5"),
    "5574-9": Analyte("Aluminum", "Al"),
    "2200-4": Analyte("Aminolevulinic acid", "C5H9NO3"),
    "5583-0": Analyte("Arsenic", "As"),
    "1980-2": Analyte("Biotin", "C10H16N2O3S"),
    "8161-2": Analyte("Bismuth", "Bi"),
    "5619-2": Analyte("Chromium", "Cr"),
    "2127-9": Analyte("Citrate", "C6H8O7"),
    "5627-5": Analyte("Cobalt", "Co"),
    "5631-7": Analyte("Copper", "Cu"),
    "2137-8": Analyte("Coproporphyrin", "C36H38N4O8"),
    "2147-7": Analyte("Cortisol, free", "C21H30O5"),
    "2143-6": Analyte("Cortisol", "C21H30O5"),
    "2177-4": Analyte("Cystine", "C3H7NO2S"),
    "1465-4": Analyte("Epinephrine", "C9H13NO3"),
    "2232-7": Analyte("Epinephrine, urine 24 h", "C9H13NO3"),
    "2668-2": Analyte("Norepinephrine, urine 24 h", "C8H11NO3"),
    "2666-6": Analyte("Norepinephrine", "C8H11NO3"),
    "3616-0": Analyte("Ethosuximide", "C7H11NO2"),
    "50544-6": Analyte("Everolimus", "C53H83NO14"),
    "6899-9": Analyte("Felbamate", "C11H14N2O4"),
    "9738-6": Analyte("Gabapentin", "C9H17NO2"),
    "2372-1": Analyte("Glutamine", "C5H10N2O3"),
    "2391-1": Analyte("Glycine", "C2H5NO2"),
    "2420-8": Analyte("Histidine", "C6H9N3O2"),
    "29512-1": Analyte("Hydroxybutyrate", "C4H8O3"),
    "2446-3": Analyte("Hydroxyproline", "C5H9NO3"),
    "2508-0": Analyte("Isoleucine", "C6H13NO2"),
    "2560-1": Analyte("Leucine", "C6H13NO2"),
    "6948-4": Analyte("Lamotrigine", "C9H7Cl2N5"),
    "30471-7": Analyte("Levetiracetam", "C8H14N2O2"),
    "2585-8": Analyte("Lysine", "C6H14N2O2"),
    "5681-2": Analyte("Manganese", "Mn"),
    "5685-3": Analyte("Mercury", "Hg"),
    "5693-7": Analyte("Methanol", "CH4O"),
    "2622-9": Analyte("Methionine", "C5H11NO2S"),
    "5700-0": Analyte("Nickel", "Ni"),
    "2679-9": Analyte("Ornithine", "C5H12N2O2"),
    "2699-7": Analyte("Oxalate", "C2O4"),
    "2765-6": Analyte("Phenylalanine", "C9H11NO2"),
    "2836-5": Analyte("Pregnanetriol", "C21H36O3"),
    "2845-6": Analyte("Proline", "C5H9NO2"),
    "2898-5": Analyte("Protoporphyrin", "C34H34N4O4"),
    "5722-4": Analyte("Selenium", "Se"),
    "2936-3": Analyte("Serine", "C3H7NO3"),
    "29247-4": Analyte("Sirolimus", "C51H79NO13"),
    "11253-2": Analyte("Tacrolimus", "C44H69NO12"),
    "2981-9": Analyte("Taurine", "C2H7NO3S"),
    "3008-0": Analyte("Threonine", "C4H9NO3"),
    "17713-9": Analyte("Topiramate", "C12H21NO8S"),
    "3070-0": Analyte("Tryptophan", "C11H12N2O2"),
    "3079-1": Analyte("Tyrosine", "C9H11NO3"),
    "3108-8": Analyte("Urobilinogen", "C33H44N4O6"),
    "3118-7": Analyte("Valine", "C5H11NO2"),
    "62290-2": Analyte("1,25-Dihydroxyvitamin D", "C27H44O3"),
    "5763-8": Analyte("Zinc", "Zn"),
}
