"""How well texts find their codes: precision and recall of the candidates of gold.coding_review.

    python benchmarks/coding_text.py [TEXTS]      # CLINICAL_PUBLIC_DATA: where terminology/ is

The names are the 74,044 titles of ICD-10-CM 2024. The texts, whose code is known, are (a) titles
with seeded misspellings and another order of words, (b) inclusion terms of the tabular list: what
clinicians call it, (c) titles of ICD-9-CM codes that CMS maps to one code without a flag.
"""

import gzip
import os
import random
import re
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import click
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from clinical_lakehouse.methods.coding import read_gems, read_icd10cm
from clinical_lakehouse.methods.text_match import closest, normal_form
from clinical_lakehouse.runtime.session import open_session

DATA = Path(os.environ.get("CLINICAL_PUBLIC_DATA", Path(__file__).parents[2] / "shared/data"))
FOLDER = DATA / "terminology"
SEED, THRESHOLDS = 7, (0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def misspelt(text: str, rng: random.Random) -> str:
    """One letter lost, replaced, added or swapped with the next."""
    at, letter = rng.randrange(len(text) - 1), rng.choice(LETTERS)
    kinds = (
        text[:at] + text[at + 1 :],
        text[:at] + letter + text[at + 1 :],
        text[:at] + letter + text[at:],
        text[:at] + text[at + 1] + text[at] + text[at + 2 :],
    )
    return rng.choice(kinds)


def perturbed(title: str, rng: random.Random) -> str:
    """A title misspelt once or twice, with its words in another order, or both."""
    kind, words = rng.choice(("once", "twice", "order", "both")), title.split()
    if kind in ("order", "both"):
        rng.shuffle(words)
    text = " ".join(words)
    for _ in range({"once": 1, "twice": 2, "both": 1}.get(kind, 0)):
        text = misspelt(text, rng)
    return text


def truths(titles: dict[str, str], count: int) -> dict[str, list[tuple[str, str]]]:
    """Texts with their code, by kind."""
    rng = random.Random(SEED)
    codes = rng.sample(sorted(titles), count)
    tabular = FOLDER / "icd10cm_2026/icd10c-tabular-April-1-2026.xml.gz"
    terms = [
        ("".join(note.itertext()), plain)
        for entry in ElementTree.fromstring(gzip.decompress(tabular.read_bytes())).iter("diag")
        if (plain := entry.findtext("name", "").replace(".", "")) in titles
        for note in entry.findall("inclusionTerm/note")
    ]
    gems = read_gems(FOLDER / "icd_gems_and_codes/icd9toicd10cmgem.csv.gz")
    nines = FOLDER / "icd_gems_and_codes/CMS32_DESC_LONG_DX.txt.gz"
    older = []
    for line in gzip.decompress(nines.read_bytes()).decode("latin1").splitlines():
        code, _, title = line.strip().partition(" ")
        found = gems.get(code, [])
        if len(found) == 1 and not found[0].is_approximate and not found[0].is_no_map:
            older.append((title.strip(), found[0].target))
    return {
        "misspelt titles": [(perturbed(titles[code], rng), code) for code in codes],
        "inclusion terms": rng.sample(terms, count),
        "ICD-9-CM titles": rng.sample(older, count),
    }


def main(count: int) -> None:
    """Print a line per kind of text and threshold."""
    titles = dict(
        read_icd10cm(FOLDER / "icd_gems_and_codes/icd10cm-codes-2024.txt.gz", 2024).billable
    )
    spark = open_session("local[2]")
    form = normal_form(F.col("name")).alias("name_form")
    path = str(Path(tempfile.mkdtemp()) / "names")
    made = spark.createDataFrame(list(titles.items()), "code STRING, name STRING")
    made.select("code", form).write.parquet(path)
    named = spark.read.parquet(path)
    codes: dict[str, set[str]] = {}
    for row in named.collect():
        codes.setdefault(row.name_form, set()).add(row.code)
    for kind, truth in truths(titles, count).items():
        texts = spark.createDataFrame(truth, "text STRING, code STRING")
        formed = texts.select("code", normal_form(F.col("text")).alias("text_form")).collect()
        judge(kind, formed, codes, named)
    spark.stop()


def judge(kind: str, formed: list[Row], codes: dict[str, set[str]], named: DataFrame) -> None:
    """One kind of text against all names."""
    started = time.monotonic()
    own = [(r.text_form,) for r in formed]
    forms = named.sparkSession.createDataFrame(own, "text_form STRING").distinct()
    near: dict[str, list] = {}
    for row in closest(forms, named.select("name_form").distinct(), 5, 0.5).collect():
        near.setdefault(row.text_form, []).append((row["rank"], row.score, row.name_form))
    seconds = time.monotonic() - started
    same = [r for r in formed if r.text_form in codes]
    right = sum(r.code in codes[r.text_form] for r in same)
    click.echo(f"\n{kind}: {len(formed)} texts, {seconds:.0f} s")
    click.echo(f"  same form: {len(same)} found, {right} right")
    best, listed = [], 0
    for r in formed:
        found = sorted(near.get(r.text_form, []))
        if r.text_form in codes:
            best.append((1.0, r.code in codes[r.text_form]))
            listed += r.code in codes[r.text_form]
        elif found:
            best.append((found[0][1], r.code in codes[found[0][2]]))
            listed += any(r.code in codes[name] for _, _, name in found)
    for threshold in THRESHOLDS:
        chosen = [is_right for score, is_right in best if score >= threshold]
        precision = sum(chosen) / len(chosen) if chosen else float("nan")
        click.echo(f"  best >= {threshold}: precision {precision:.3f} recall "
              f"{sum(chosen) / len(formed):.3f}")  # fmt: skip
    click.echo(f"  among the five listed: {listed / len(formed):.3f}")


if __name__ == "__main__":
    main(int(re.sub(r"\D", "", sys.argv[1])) if len(sys.argv) > 1 else 1000)
