"""Trials made so far, one small file each, so that a killed search goes on where it stopped."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrialMemory:
    """A folder of one search. hyperopt suggests the same points for the same seed and the same
    losses, so a search that is repeated finds its trials here and fits only what is missing."""

    folder: Path

    def find(self, family: str, params: Mapping[str, float]) -> tuple[float, float] | None:
        """Loss and its error of a trial, bit for bit as it was; None where it was not finished."""
        path = self._path(family, params)
        if not path.is_file():
            return None
        loss, error = json.loads(path.read_text(encoding="utf-8"))
        return float.fromhex(loss), float.fromhex(error)

    def keep(self, family: str, params: Mapping[str, float], found: tuple[float, float]) -> None:
        """Store a finished trial: the file is there whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(family, params)
        half = path.with_suffix(".half")
        half.write_text(json.dumps([number.hex() for number in found]), encoding="utf-8")
        os.replace(half, path)

    def forget(self) -> None:
        """The search is done: its model is registered."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, family: str, params: Mapping[str, float]) -> Path:
        exact = {name: float(value).hex() for name, value in params.items()}
        text = json.dumps([family, exact], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
