"""FHIRTransformer: subjects' silver rows back to FHIR R4, as Bundles or as a Bulk Data export."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.operators.fhir_people import DIRECTORIES, PEOPLE
from clinical_lakehouse.operators.fhir_shape import Shape, Written, written
from clinical_lakehouse.operators.fhir_shapes import CLINICAL
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.tables import silver

OF_PERSONS = (*PEOPLE, *CLINICAL)
READS = [shape.table for shape in (*OF_PERSONS, *DIRECTORIES)]
LAYOUTS = ("bundle", "ndjson")
# What silver does not hold, so that no export can.
NOT_KEPT = (
    "source ids (surrogate keys instead), identifiers, names, contacts, narrative and free text",
    "all codings of a concept but the first (and a trial visit's and MedDRA's), and its text",
    "versions, meta and extensions but race and ethnicity; contained resources",
    "the scale of decimals (1.10 is 1.1), and that a date came without a time",
    "values that are neither number, code nor boolean (a text says that one was withheld)",
    "months and days of birth; people over 89 are born 90 years before the export",
    "second and further participants, locations, reasons, categories, doses and ranges",
)
# Which columns of a subject's rows lead to places and staff, by type.
_LEADS = (
    ("Organization", silver.PATIENT, "organization_key"),
    ("Organization", silver.SUBJECT, "organization_key"),
    ("Organization", silver.ENCOUNTER, "organization_key"),
    ("Organization", silver.COVERAGE, "payer_key"),
    ("Practitioner", silver.ENCOUNTER, "practitioner_key"),
    ("Location", silver.ENCOUNTER, "location_key"),
    ("ResearchStudy", silver.SUBJECT, "study_key"),
    ("ResearchStudy", silver.ADVERSE_EVENT, "study_key"),
)


@dataclass(frozen=True)
class FHIRTransformer:
    """Writes what silver holds of subjects, de-identified as it is, into `out` as FHIR R4.

    `bundle`: a Bundle (collection) each, in `<subject_key>.json`, with the places, staff and trials
    that it refers to. `ndjson`: a file for each type and a manifest, as a Bulk Data export. Without
    a data use `agreement` dates are reduced to years (45 CFR 164.514(b)(2)(i)(C)), with one they
    are the shifted dates of silver. What does not survive is NOT_KEPT.
    """

    out: Path
    layout: str = "bundle"
    subject_keys: tuple[int, ...] = ()  # none given: everybody
    agreement: str | None = None

    def execute(self, run: Run) -> Metrics:
        """Write the files, whole or not at all; a caller's task declares READS."""
        if self.layout not in LAYOUTS:
            raise UsageError(f"--layout must be one of {', '.join(LAYOUTS)}")
        agreement = self.agreement or run.settings.privacy.data_use_agreement
        said = written(run.as_of, agreement)
        draft = self.out.with_name(f".{self.out.name}.part")
        if self.out.exists() or draft.exists():
            raise UsageError(f"{self.out} (or its draft {draft.name}) exists; give another --out")
        draft.mkdir(parents=True)
        write = self._bundles if self.layout == "bundle" else self._lines
        counts = write(run, said, draft)
        draft.rename(self.out)
        dates = "shifted" if said.is_full else "years"
        return {**counts, "dates": dates, "agreement": agreement or "none"}

    def _stored(self, run: Run, shape: Shape) -> DataFrame:
        rows = run.lake.read(shape.table)
        if not self.subject_keys:
            return rows
        return rows.filter(F.col("subject_key").isin(*self.subject_keys))

    def _of_persons(self, run: Run, said: Written) -> list[tuple[str, DataFrame]]:
        return [
            (shape.resource_type, shape.rows(self._stored(run, shape), said))
            for shape in OF_PERSONS
        ]

    def _of_places(self, run: Run, said: Written) -> list[tuple[str, DataFrame]]:
        """Places, staff and trials that the subjects' rows lead to, once for each subject."""
        links = self._links(run)
        found = []
        for shape in DIRECTORIES:
            rows = shape.rows(run.lake.read(shape.table), said).drop("subject_key")
            found.append((shape.resource_type, rows.join(links, ["resource_type", "resource_key"])))
        return found

    def _links(self, run: Run) -> DataFrame:
        """resource_type, resource_key and subject_key of everything referred to."""
        shapes = {shape.table.name: shape for shape in OF_PERSONS}
        direct = [
            self._stored(run, shapes[table.name]).select(
                F.lit(name).alias("resource_type"),
                F.col(column).alias("resource_key"),
                "subject_key",
            )
            for name, table, column in _LEADS
        ]
        links = reduce(DataFrame.union, direct)
        places = links.filter("resource_type = 'Location'").join(
            run.lake.read(silver.LOCATION), F.col("resource_key") == F.col("location_key")
        )
        owners = places.select(
            F.lit("Organization").alias("resource_type"),
            F.col("organization_key").alias("resource_key"),
            "subject_key",
        )
        return links.union(owners).filter("resource_key IS NOT NULL").distinct()

    def _bundles(self, run: Run, said: Written, folder: Path) -> Metrics:
        """One file per subject; a subject's resources stand in one row at a time."""
        parts = (*self._of_persons(run, said), *self._of_places(run, said))
        together = reduce(DataFrame.unionByName, [rows for _, rows in parts])
        entries = F.sort_array(F.collect_list(F.struct("resource_type", "resource_key", "content")))
        grouped = together.groupBy("subject_key").agg(entries.alias("entries"))
        made = grouped.select("subject_key", F.size("entries").alias("n"), _bundle().alias("text"))
        subjects = resources = 0
        for row in made.toLocalIterator():
            (folder / f"{row['subject_key']}.json").write_text(row["text"], encoding="utf-8")
            subjects, resources = subjects + 1, resources + row["n"]
        if not subjects:
            raise SourceError("silver holds nothing of these subjects; check the key")
        return {"subjects": subjects, "resources": resources}

    def _lines(self, run: Run, said: Written, folder: Path) -> Metrics:
        """One file per type, then the manifest that names them."""
        counts: dict[str, int] = {}
        places = [
            (name, rows.drop("subject_key").distinct()) for name, rows in self._of_places(run, said)
        ]
        for name, rows in (*self._of_persons(run, said), *places):
            lines = (row["content"] for row in rows.select("content").toLocalIterator())
            counts[name] = _written(folder / f"{name}.ndjson", lines)
        kept = {name: count for name, count in counts.items() if count}
        output = [{"type": n, "url": f"{n}.ndjson", "count": c} for n, c in kept.items()]
        manifest = {"transactionTime": run.as_of.isoformat(), "output": output}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        return {"subjects": counts["Patient"], "resources": sum(counts.values())}


def _bundle() -> Column:
    """The JSON text of a Bundle of `entries`."""
    entry = F.transform(
        "entries",
        lambda e: F.concat(
            F.lit('{"fullUrl":"'),
            F.concat_ws("/", F.lit("https://clinical-lakehouse.example/fhir"), e["resource_type"]),
            F.lit("/"),
            e["resource_key"].cast("string"),
            F.lit('","resource":'),
            e["content"],
            F.lit("}"),
        ),
    )
    head = F.lit('{"resourceType":"Bundle","type":"collection","entry":[')
    return F.concat(head, F.array_join(entry, ","), F.lit("]}"))


def _written(path: Path, lines: Iterable[str]) -> int:
    """Write lines as they come; no file where there is none."""
    count = 0
    with path.open("w", encoding="utf-8") as target:
        for line in lines:
            target.write(f"{line}\n")
            count += 1
    if not count:
        path.unlink()
    return count
