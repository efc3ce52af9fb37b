"""The three digits of a ZIP code that may be kept (45 CFR 164.514(b)(2)(i)(B))."""

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

_ZIP = r"^\s*(\d{3})(?:\d{2}(?:[- ]?\d{4})?)?\s*$"
_UNITED_STATES = ("", "US", "USA", "840", "UNITED STATES", "UNITED STATES OF AMERICA")
_WITHHELD = "000"


def zip3(postal_code: Column, country: Column, withheld: Sequence[str]) -> Column:
    """First three digits of a US ZIP, 000 for areas `withheld`; null for any other postal code.

    A postal code without a country is taken for a ZIP if it has the form of one.
    """
    is_american = F.upper(F.trim(F.coalesce(country, F.lit("")))).isin(*_UNITED_STATES)
    digits = F.nullif(F.regexp_extract(postal_code, _ZIP, 1), F.lit(""))
    kept = F.when(digits.isin(*withheld), _WITHHELD).otherwise(digits)
    return F.when(is_american, kept)
