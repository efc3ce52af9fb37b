"""Reference change values: how much two results of one person may differ by themselves."""

from math import sqrt

# Two-sided: 95% (significant) and 99% (highly significant), Fraser 2001, pages 67-90.
Z_95, Z_99 = 1.96, 2.58

# Within-subject biological variation, % (CVi) by LOINC. Ricos et al. 1999 (Scand J Clin Lab Invest
# 59:491-500), edition of 2014 at westgard.com.
WITHIN_SUBJECT_CV = {
    "2951-2": 0.6,  # sodium
    "2823-3": 4.6,  # potassium
    "2075-0": 1.2,  # chloride
    "17861-6": 2.1,  # calcium
    "2160-0": 5.95,  # creatinine
    "2345-7": 5.6,  # glucose
    "2093-3": 5.95,  # cholesterol
    "2571-8": 19.9,  # triglycerides
    "1742-6": 19.4,  # alanine aminotransferase
    "1920-8": 12.3,  # aspartate aminotransferase
    "718-7": 2.85,  # hemoglobin
    "777-3": 9.1,  # platelets
    "4548-4": 1.9,  # hemoglobin A1c
}


def reference_change_value(analytical_cv: float, within_cv: float, z: float = Z_95) -> float:
    """RCV in percent: sqrt(2) * z * sqrt(CVa^2 + CVi^2) (Fraser and Harris 1989, Crit Rev Clin Lab
    Sci 27:409-437); both variations in percent."""
    return sqrt(2) * z * sqrt(analytical_cv**2 + within_cv**2)


def desirable_analytical_cv(within_cv: float) -> float:
    """CVa in percent of a laboratory that is good enough: half of CVi (Fraser 2001), for a
    laboratory that does not tell its own."""
    return within_cv / 2
