"""ZIP3 is kept where many live, 000 where few do, and other countries' codes go."""

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.methods.zip3 import zip3
from clinical_lakehouse.runtime.settings import load_settings

# HHS, Guidance Regarding Methods for De-identification (26 November 2012), question 3.1.
CENSUS_2000 = {
    *("036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831"),
    *("878", "879", "884", "890", "893"),
}
# Census 2010, populations of 3-digit ZCTAs of at most 20,000.
CENSUS_2010 = {
    *("036", "059", "102", "202", "203", "204", "205", "369", "556", "692", "753", "772"),
    *("821", "823", "878", "879", "884", "893"),
}
CASES = [
    ("02139", "US", "021"),
    ("02139-4307", None, "021"),
    (" 021394307 ", "usa", "021"),
    ("03601", "US", "000"),
    ("753", None, "000"),
    ("10115", "DE", None),
    ("K1A 0B1", None, None),
    ("0213", "US", None),
    (None, "US", None),
]


def test_default_list_is_the_union_of_both_censuses():
    withheld = load_settings("dev", environ={}).privacy.zip3_withheld
    assert (len(CENSUS_2000), len(CENSUS_2010)) == (17, 18)
    assert list(withheld) == sorted(CENSUS_2000 | CENSUS_2010)


@pytest.fixture(scope="module")
def made(spark):
    rows = spark.createDataFrame([case[:2] for case in CASES], "code STRING, country STRING")
    withheld = load_settings("dev", environ={}).privacy.zip3_withheld
    column = zip3(F.col("code"), F.col("country"), withheld)
    return [row[0] for row in rows.select(column).collect()]


def test_each_postal_code_gives_its_three_digits_or_none(made):
    assert made == [case[2] for case in CASES]
