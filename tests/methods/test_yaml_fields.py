"""A conf file that does not fit is refused with its file and line, in one line."""

from datetime import date, time

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.yaml_fields import Fields, read_fields


def _fields(folder, text: str) -> Fields:
    path = folder / "conf" / "x.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return read_fields(path, folder)


def test_fields_are_read_as_what_they_are(tmp_path):
    fields = _fields(
        tmp_path,
        'a: {at: "09:30", on: 2024-06-30, few: x, many: [x, y], flag: true, number: 2.5}\nb:\n',
    ).inner("a")
    assert fields.clock("at") == time(9, 30)
    assert fields.day("on") == date(2024, 6, 30)
    assert (fields.words("few"), fields.words("many")) == (("x",), ("x", "y"))
    assert (fields.flag("flag", False), fields.number("number")) == (True, 2.5)
    assert fields.text("absent", "default") == "default"
    assert list(fields.named("absent")) == list(fields.each("absent")) == []


REFUSED = {
    "a: [": "conf/x.yml:1 is not valid YAML",
    "a: 1\na: 2\n": "conf/x.yml:2 says 'a' a second time",
    "\nb: 1\n": "conf/x.yml:2 has an unknown field 'b'; known: a",
    "a: 1\n": "conf/x.yml:1 must be a mapping",
    "a:\n  b: x\n": "conf/x.yml:2 b must be a number",
    "a:\n  c: 1\n": "conf/x.yml:1 needs the field 'b'",
    "a:\n  b: true\n": "conf/x.yml:2 b must be a number",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_does_not_fit_is_refused_with_file_and_line(tmp_path, text):
    with pytest.raises(SettingsError) as refused:
        _fields(tmp_path, text).allow("a").inner("a").number("b")
    assert REFUSED[text] in str(refused.value)


def test_wall_time_without_quotes_is_told_what_yaml_makes_of_it(tmp_path):
    with pytest.raises(SettingsError, match='must be a wall time in quotes, e.g. "09:00"'):
        _fields(tmp_path, "a: 10:30\n").clock("a")
