"""Lots drawn for subjects by a hash of a name and their keys, alike in Python and in a Column."""

import hashlib

from pyspark.sql import Column
from pyspark.sql import functions as F

_PLACES, _DIGITS = 10_000, 12  # how finely subjects are divided, digits of the hash that do it
_HELD_OUT = "held out"


def lot_of(draw: str, subject: int) -> float:
    """A subject's place from 0 to below 1 in a draw, by SHA-256 of the draw's name and its key: who
    is in a small share is in every larger one, and each draw is anew."""
    digest = hashlib.sha256(f"{draw}/{subject}".encode()).hexdigest()
    return int(digest[:_DIGITS], 16) % _PLACES / _PLACES


def lot(draw: str, subject: Column) -> Column:
    """The same place as `lot_of` gives, of a column of subjects."""
    digest = F.sha2(F.concat_ws("/", F.lit(draw), subject), 256)
    number = F.conv(F.substring(digest, 1, _DIGITS), 16, 10).cast("bigint")
    return (number % _PLACES) / F.lit(_PLACES)


def is_held_out(subject: int, model_name: str, ratio: float) -> bool:
    """Is the subject of the share of people on whom no action follows a model's risks, so that how
    it fares can be told: the same people for all its versions."""
    return lot_of(f"{model_name}/{_HELD_OUT}", subject) < ratio


def held_out(subject: Column, model_name: str, ratio: float) -> Column:
    """The same of a column of subjects."""
    return lot(f"{model_name}/{_HELD_OUT}", subject) < F.lit(ratio)
