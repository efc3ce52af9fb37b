"""SQL-on-FHIR views: the public suite passes, decimals keep their digits, nothing is unsaid."""

import json
from decimal import Decimal
from functools import reduce
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import LakehouseError, UsageError
from clinical_lakehouse.local.view_command import ViewRun
from clinical_lakehouse.methods.fhirpath import parse
from clinical_lakehouse.methods.sql_on_fhir.definition import read_view, view_of
from clinical_lakehouse.methods.sql_on_fhir.dropped import dropped
from clinical_lakehouse.methods.sql_on_fhir.running import compile_view, run_view
from tests.conftest import PUBLIC_DATA

VIEWS = Path(__file__).parents[2] / "conf" / "views"
SUITE = sorted((PUBLIC_DATA / "sql_on_fhir_tests").glob("*.json"))


def _cases(file):
    return json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)["tests"]


EXPECTING_ROWS = [(f, c["title"]) for f in SUITE for c in _cases(f) if "expect" in c]
EXPECTING_ERROR = [(f, c["title"]) for f in SUITE for c in _cases(f) if c.get("expectError")]


def _name(value):
    return value.stem if isinstance(value, Path) else value


def _frame(spark, resources):
    rows = [(json.dumps(r, default=float),) for r in resources]
    return spark.createDataFrame(rows, "content STRING").coalesce(1)


def _view(resource, *columns, **more):
    listed = [{"name": name, "path": path} for name, path in columns]
    return view_of({"resource": resource, "select": [{"column": listed}], **more}, "v.json")


def _run(spark, view, *texts):
    frame = spark.createDataFrame([(text,) for text in texts], "content STRING").coalesce(1)
    return [row.asDict() for row in run_view(compile_view(view), frame).collect()]


def _refused(spark, text, view):
    """The message of the refusal, at compile time or from the data."""
    frame = spark.createDataFrame([(text,)], "content STRING")
    with pytest.raises(LakehouseError) as refused:
        list(ViewRun(compile_view(view), frame).rows())
    return str(refused.value)


@pytest.fixture(scope="module")
def results(spark):
    """Rows of every case by file and title; the cases of a file run as one query."""
    found = {}
    for file in SUITE:
        document = json.loads(file.read_text(encoding="utf-8"))
        frame = _frame(spark, document["resources"])
        cases = {c["title"]: c["view"] for c in document["tests"] if "expect" in c}
        made = {title: compile_view(view_of(v, file.name)) for title, v in cases.items()}
        parts = [
            run_view(view, frame).select(
                F.lit(title).alias("title"),
                F.to_json(F.struct("*"), {"ignoreNullFields": "false"}).alias("row"),
            )
            for title, view in made.items()
        ]
        if parts:
            for row in reduce(lambda a, b: a.unionAll(b), parts).collect():
                found.setdefault((file, row["title"]), []).append(json.loads(row["row"]))
        for title, view in made.items():
            decimals = [f.name for f in view.fields if f.fhir_type == "decimal"]
            for row in found.setdefault((file, title), []):
                row.update({n: Decimal(row[n]) for n in decimals if row[n] is not None})
            found[(file, title, "columns")] = [f.name for f in view.fields]
    return found


@pytest.mark.parametrize(("file", "title"), EXPECTING_ROWS, ids=_name)
def test_public_case_gives_the_expected_rows(results, file, title):
    case = next(c for c in _cases(file) if c["title"] == title and "expect" in c)

    def ordered(rows):
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=float))

    assert ordered(results[(file, title)]) == ordered(case["expect"])
    if "expectColumns" in case:
        assert results[(file, title, "columns")] == case["expectColumns"]


@pytest.mark.parametrize(("file", "title"), EXPECTING_ERROR, ids=_name)
def test_public_case_that_expects_an_error_is_refused_by_name(spark, file, title):
    document = json.loads(file.read_text(encoding="utf-8"))
    case = next(c for c in document["tests"] if c["title"] == title and c.get("expectError"))
    with pytest.raises(LakehouseError, match=rf"^{file.name}: "):
        compiled = compile_view(view_of(case["view"], file.name))
        list(ViewRun(compiled, _frame(spark, document["resources"])).rows())


def test_suite_is_read_whole(public_data):
    public_data("sql_on_fhir_tests")
    assert len(EXPECTING_ROWS) + len(EXPECTING_ERROR) == sum(len(_cases(f)) for f in SUITE) > 100


OBSERVATION = (
    '{"resourceType":"Observation","id":"o1","valueQuantity":{"value": 1.10,"unit":"mg"},'
    '"note":[{"text":"see \\"value\\": 2.50, and \\"value\\":3.0"}],'
    '"component":[{"valueQuantity":{"value":1.0E3}},{"valueQuantity":{"value":0.000}}]}'
)


def test_decimals_keep_their_digits_and_text_that_looks_like_json_stays(spark):
    view = _view(
        "Observation",
        ("value", "value.ofType(Quantity).value"),
        ("note", "note.text"),
        ("first", "component.value.ofType(Quantity).value.first()"),
        ("last", "component.value.ofType(Quantity).value.last()"),
    )
    compiled = compile_view(view)
    frame = spark.createDataFrame([(OBSERVATION,)], "content STRING")
    (row,) = run_view(compiled, frame).collect()
    assert row.asDict() == {
        "value": "1.10",
        "note": 'see "value": 2.50, and "value":3.0',
        "first": "1.0E3",
        "last": "0.000",
    }
    assert next(ViewRun(compiled, frame).lines("json")).startswith('{"value": 1.10, ')


PATIENT = json.dumps(
    {
        "resourceType": "Patient",
        "id": "p1",
        "active": True,
        "birthDate": "1970-06",
        "_birthDate": {"extension": [{"url": "urn:exact", "valueBoolean": False}]},
        "name": [{"family": "A", "given": ["x", None, "y"]}, {"family": "B"}],
        "contained": [
            {"resourceType": "Organization", "id": "o", "name": "North", "active": True},
            {"resourceType": "Practitioner", "id": "d", "name": [{"family": "C"}]},
        ],
        "managingOrganization": {"reference": "#o"},
        "generalPractitioner": [
            {"reference": "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"},
            {"reference": "http://a.example/fhir/Practitioner/7/_history/2"},
        ],
    }
)
RULES = [
    ("name.given.count()", 2),
    ("name.given.last()", "y"),
    ("name.skip(1).family", "B"),
    ("name.where(family = 'B').exists()", True),
    ("name.all(given.exists())", False),
    ("name.select(family & '!').join('')", "A!B!"),
    ("name[0].given[1] + '-' + id", "y-p1"),
    ("iif(active, 'yes', 'no')", "yes"),
    ("1 + 2 * 3 = 7 and 7 mod 2 = 1", True),
    ("1.10 = 1.1", True),
    ("10 / 4", "2.5"),
    ("7 div 2 - 10", -7),
    ("(true and {}).exists()", False),
    ("true or {}", True),
    ("false implies {}", True),
    ("gender = 'male'", None),
    ("birthDate < @1970-07", True),
    ("birthDate < @1970-06-15", None),
    ("birthDate.extension('urn:exact').value.ofType(boolean)", False),
    ("birthDate.lowBoundary()", "1970-06-01"),
    ("@2024-02.highBoundary()", "2024-02-29"),
    ("(1.587).lowBoundary()", "1.5865"),
    ("'abcdef'.substring(1, 2)", "bc"),
    ("'abc'.startsWith('ab') and 'abc'.matches('^a.c$')", True),
    ("deceased.exists()", False),
    ("contained.ofType(Organization).name", "North"),
    ("contained.ofType(Practitioner).name.family", "C"),
    ("managingOrganization.getReferenceKey()", None),
    (
        "generalPractitioner.getReferenceKey(Practitioner).join(' ')",
        "53fefa32-fcbb-4ff8-8a92-55ee120877b7 7",
    ),
    ("generalPractitioner[1].getReferenceKey(Patient)", None),
    ("Patient.name.first().family", "A"),
    ("'B' in name.family", True),
]


def test_rules_of_fhirpath_hold(spark):
    view = _view("Patient", *((f"c{n}", path) for n, (path, _) in enumerate(RULES)))
    (row,) = _run(spark, view, PATIENT)
    found = {path: row[f"c{n}"] for n, (path, _) in enumerate(RULES)}
    assert found == dict(RULES)


def test_repeat_goes_depth_first_to_any_depth_and_refuses_to_cut(spark):
    def nested(depth):
        item = {"linkId": str(depth)}
        for level in range(depth - 1, 0, -1):
            item = {"linkId": str(level), "item": [item, {"linkId": f"{level}b"}]}
        return json.dumps({"resourceType": "QuestionnaireResponse", "id": "q", "item": [item]})

    select = {"repeat": ["item"], "column": [{"name": "link", "path": "linkId"}]}
    view = view_of({"resource": "QuestionnaireResponse", "select": [select]}, "v.json")
    links = [row["link"] for row in _run(spark, view, nested(4))]
    assert links == ["1", "2", "3", "4", "3b", "2b", "1b"]
    assert len(_run(spark, view, nested(40))) == 79
    assert "deeper than 64 levels" in _refused(spark, nested(70), view)


REFUSED = [
    ("name.foo()", r"column c, path 'name.foo\(\)': the function foo\(\) is not supported"),
    ("nome", "Patient has no element 'nome'"),
    ("deceasedBoolean", r"write deceased.ofType\(boolean\)"),
    ("deceased", "several types"),
    ("name", "yields a HumanName"),
    ("name.given = 5", "cannot be compared"),
    ("name.given and true", "a boolean is needed"),
    ("contained.id", r"add ofType\(...\)"),
    ("name.where(", "cannot read"),
    ("id + 1", "cannot join"),
    ("name.first(1)", "0 are allowed"),
    ("%x", "constant %x is not defined"),
]


@pytest.mark.parametrize(("path", "message"), REFUSED)
def test_unsupported_expression_is_refused_with_view_column_and_expression(path, message):
    with pytest.raises(UsageError, match=message) as refused:
        compile_view(_view("Patient", ("c", path)))
    assert str(refused.value).startswith("v.json: column c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resource": "Pasient"}, "no FHIR R4 resource type"),
        ({"select": []}, "missing or empty"),
        ({"select": [{"colum": []}]}, "unknown key 'colum'"),
        ({"select": [{"forEach": "name", "repeat": ["name"]}]}, "keep one of them"),
        ({"select": [{"column": [{"name": "a b", "path": "id"}]}]}, "`name` must be"),
        ({"select": [{"column": [{"name": "a", "path": "id"}] * 2}]}, "defined twice"),
        ({"select": [{"column": [{"name": "a", "path": "id", "type": "integer"}]}]}, "declared"),
        ({"constant": [{"name": "a"}]}, "one value"),
    ],
)
def test_wrong_structure_is_refused(change, message):
    good = {"resource": "Patient", "select": [{"column": [{"name": "a", "path": "id"}]}]}
    compile_view(view_of(good, "v.json"))
    with pytest.raises(UsageError, match=message):
        compile_view(view_of({**good, **change}, "v.json"))


def test_operators_bind_as_fhirpath_says():
    assert parse("a or b and c") == parse("a or (b and c)")
    assert parse("a = b and c < d") == parse("(a = b) and (c < d)")
    assert parse("a + b * c | d") == parse("(a + (b * c)) | d")
    assert parse("a implies b or c") == parse("a implies (b or c)")


def test_dropped_elements_are_counted_by_path_without_a_value(spark):
    frame = spark.createDataFrame([(PATIENT,)], "content STRING")
    view = _view("Patient", ("family", "name.family.first()"), ("id", "id"),
                 ("org", "contained.ofType(Organization).name"))  # fmt: skip
    left = dropped(compile_view(view), frame)
    assert left == {
        "_birthDate.extension.url": 1,
        "_birthDate.extension.valueBoolean": 1,
        "active": 1,
        "birthDate": 1,
        "contained<Organization>.active": 1,
        "contained<Organization>.id": 1,
        "contained<Practitioner>.id": 1,
        "contained<Practitioner>.name.family": 1,
        "generalPractitioner.reference": 2,
        "managingOrganization.reference": 1,
        "name.given": 2,
    }


def test_labs_view_equals_a_reading_of_the_files_by_plain_python(spark, public_data):
    """The rows of conf/views/observation_labs.json, found again without Spark or FHIRPath."""
    file = public_data("synthea_r4_10") / "ndjson" / "Observation.ndjson"
    lines = file.read_text(encoding="utf-8").splitlines()
    expected = sorted(row for line in lines for row in _labs(json.loads(line, parse_float=str)))
    frame = spark.createDataFrame([(line,) for line in lines], "content STRING")
    compiled = compile_view(read_view(VIEWS / "observation_labs.json"))
    found = sorted(tuple(v or "" for v in row) for row in run_view(compiled, frame).collect())
    assert len(expected) > 500
    assert found == expected


def _labs(observation):
    codings = [c for cat in observation["category"] for c in cat["coding"]]
    if "laboratory" not in {c["code"] for c in codings}:
        return

    def local(reference):
        return reference["reference"].replace("urn:uuid:", "").rsplit("/", 1)[-1]

    for part in (observation, *observation.get("component", [])):
        code = next(c["code"] for c in part["code"]["coding"] if c["system"].endswith("loinc.org"))
        quantity = part.get("valueQuantity", {})
        yield (
            observation["id"],
            local(observation["subject"]),
            local(observation["encounter"]),
            observation["status"],
            observation["effectiveDateTime"],
            code,
            str(quantity.get("value", "")),
            quantity.get("code", ""),
        )
