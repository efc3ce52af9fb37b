"""Finds names that a text may mean: its normal form, trigrams that block, a score that ranks."""

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from rapidfuzz import fuzz, process

# A SNOMED name's semantic tag says what kind of concept it is, not what it means.
_TAG = (
    r"\s*\((disorder|finding|procedure|situation|observable entity|event|substance|product|"
    r"regime/therapy|morphologic abnormality|qualifier value|physical object|body structure)\)\s*$"
)
_ACCENTED = "œæàáâãäåçèéêëìíîïñòóôõöùúûüýÿ"
_PLAIN = "eeaaaaaaceeeeiiiinooooouuuuyy"
# Abbreviations with one meaning in clinical use (Joint Commission's ambiguous ones are left out).
ABBREVIATIONS = {
    "afib": "atrial fibrillation",
    "aki": "acute kidney injury",
    "bilat": "bilateral",
    "bmi": "body mass index",
    "bph": "benign prostatic hyperplasia",
    "ca": "carcinoma",
    "cabg": "coronary artery bypass graft",
    "cad": "coronary artery disease",
    "chf": "congestive heart failure",
    "chr": "chronic",
    "ckd": "chronic kidney disease",
    "copd": "chronic obstructive pulmonary disease",
    "cva": "cerebrovascular accident",
    "dm": "diabetes mellitus",
    "dvt": "deep vein thrombosis",
    "esrd": "end stage renal disease",
    "fx": "fracture",
    "gerd": "gastroesophageal reflux disease",
    "hx": "history",
    "htn": "hypertension",
    "ii": "2",
    "iii": "3",
    "lt": "left",
    "nos": "unspecified",
    "rt": "right",
    "sz": "seizure",
    "t1dm": "type 1 diabetes mellitus",
    "t2dm": "type 2 diabetes mellitus",
    "tia": "transient ischemic attack",
    "tumour": "tumor",
    "unsp": "unspecified",
    "uri": "upper respiratory infection",
    "uti": "urinary tract infection",
}
_FILLERS = ("a", "an", "and", "at", "by", "for", "in", "of", "on", "the", "to")
# A mistyped letter spoils three trigrams; these are enough to find the name by the others.
_RAREST = 20
_CLOSEST = 40


def normal_form(text: Column) -> Column:
    """The words of a text in alphabetical order: lower case, without accents, punctuation, SNOMED
    tag, filler words and plural s, abbreviations spelt out; empty for a text without words."""
    plain = F.translate(F.lower(F.regexp_replace(text, _TAG, "")), _ACCENTED, _PLAIN)
    said = F.regexp_replace(F.regexp_replace(plain, r"\bw/o\b", "without"), r"\bw/", "with ")
    # One spelling for British and American: anaemia, oedema.
    spelt = F.regexp_replace(F.regexp_replace(said, "[ao]e", "e"), r"['’]s?\b", "")
    clean = F.trim(F.regexp_replace(spelt, r"[^\p{L}\p{N}%]+", " "))
    pairs = [F.lit(item) for pair in ABBREVIATIONS.items() for item in pair]
    known = F.create_map(*pairs)
    long = F.transform(F.split(clean, " "), lambda word: F.coalesce(known[word], word))
    words = F.split(F.array_join(long, " "), " ")
    kept = F.filter(words, lambda word: ~word.isin(*_FILLERS))
    return F.array_join(F.array_sort(F.transform(kept, _singular)), " ")


def closest(texts: DataFrame, names: DataFrame, count: int, score_min: float) -> DataFrame:
    """Per text_form of `texts` at most `count` name_forms of `names`, with their score (0-1), best
    first in `rank`; none below `score_min`, and none that is equal.

    Both are distinct forms. Pairs are those that share trigrams which are rare among the names.
    """
    pairs = _blocked(texts.select("text_form"), names.select("name_form"))
    schema = "text_form STRING, name_form STRING, score DOUBLE"
    scores = pairs.mapInArrow(score, schema).filter(F.col("score") >= score_min)
    best = Window.partitionBy("text_form").orderBy(F.desc("score"), "name_form")
    ranked = scores.withColumn("rank", F.row_number().over(best))
    return ranked.filter(F.col("rank") <= count)


def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: text_form and name_form with how alike they are, 0 to 1 (under 1)."""
    for batch in batches:
        texts, names = (batch[name].to_pylist() for name in ("text_form", "name_form"))
        alike = process.cpdist(texts, names, scorer=fuzz.ratio) / 100
        yield pa.RecordBatch.from_pydict(
            {"text_form": batch["text_form"], "name_form": batch["name_form"],
             "score": pa.array(alike.astype("float64").clip(0, 0.99))}
        )  # fmt: skip


def _blocked(texts: DataFrame, names: DataFrame) -> DataFrame:
    """Pairs of forms that share the most of the text's rarest trigrams, at least two of them."""
    of_texts = texts.select("text_form", F.explode(_trigrams("text_form")).alias("gram"))
    wanted = F.broadcast(of_texts.select("gram").distinct())
    of_names = names.select("name_form", F.explode(_trigrams("name_form")).alias("gram"))
    used = of_names.join(wanted, "gram", "left_semi")
    counted = used.groupBy("gram").agg(F.count(F.lit(1)).alias("name_count"))
    rare_first = Window.partitionBy("text_form").orderBy("name_count", "gram")
    ranked = of_texts.join(counted, "gram").withColumn("_rank", F.row_number().over(rare_first))
    rarest = F.broadcast(ranked.filter(F.col("_rank") <= _RAREST).select("text_form", "gram"))
    shared = used.join(rarest, "gram").groupBy("text_form", "name_form").count()
    most = Window.partitionBy("text_form").orderBy(F.desc("count"), "name_form")
    near = shared.filter("count > 1 AND text_form <> name_form")
    chosen = near.withColumn("_rank", F.row_number().over(most)).filter(F.col("_rank") <= _CLOSEST)
    return chosen.select("text_form", "name_form")


def _trigrams(form: str) -> Column:
    """Each three letters of a form, its words' ends included, once."""
    padded = F.concat(F.lit(" "), F.col(form), F.lit(" "))
    starts = F.sequence(F.lit(1), F.greatest(F.length(padded) - 2, F.lit(1)))
    return F.array_distinct(F.transform(starts, lambda i: F.substring(padded, i, F.lit(3))))


def _singular(word: Column) -> Column:
    is_plural = word.rlike("[a-z]{3,}[^suid]s$|[a-z]{3,}[aeo]ses$") & ~word.rlike("(ss|us|is)$")
    return F.when(is_plural, F.regexp_replace(word, "s$", "")).otherwise(word)
