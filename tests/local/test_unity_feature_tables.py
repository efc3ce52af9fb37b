"""Feature tables carry a primary key with its time series column, as Unity Catalog wants them."""

from dataclasses import replace

import pytest

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.local.unity_tables import key_statements
from clinical_lakehouse.tables.gold_feature_store import FEATURE_VALUE, FEATURE_VERSION


def test_the_time_key_is_the_primary_keys_time_series():
    tables = {table.name: table for table in (FEATURE_VALUE, FEATURE_VERSION)}
    made = [line for line in key_statements("c", tables) if "ADD CONSTRAINT" in line]
    assert "`subject_key`, `index_date` TIMESERIES) NOT ENFORCED" in made[0]
    assert "TIMESERIES" not in made[1]


def test_a_time_key_outside_the_key_is_refused():
    with pytest.raises(ContractError, match="time_key must be a column of the key"):
        replace(FEATURE_VALUE, time_key="known_at")
