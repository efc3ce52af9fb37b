"""Twenty trials of the search on ACTG175, all families on offer: seconds, and what was chosen.

PYTHONPATH=. python benchmarks/actg175.py [FOLDER of ACTG175.csv]
"""

import os
import sys
import time
from pathlib import Path

from measuring import timed

from clinical_lakehouse.training.families import FAMILIES
from clinical_lakehouse.training.search import search
from tests.training.actg175 import offer, read_trial

TRIALS = 20


def main() -> None:
    """Search, and print."""
    beside = Path(os.environ.get("CLINICAL_PUBLIC_DATA", "../shared/data")) / "trial_survival"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else beside
    trial = read_trial(folder / "ACTG175.csv")
    begun = time.process_time()
    with timed() as seconds:
        choice = search(trial.rows, offer(tuple(one.name for one in FAMILIES)), TRIALS, 7)
    spent = time.process_time() - begun
    told = [f"{len(trial.rows)} people, {int(trial.rows['is_event'].sum())} with the event"]
    for family in sorted({one.family for one in choice.trials}):
        own = [one for one in choice.trials if one.family == family]
        best = min(one.loss for one in own)
        told.append(f"{family:20} {len(own):3} trials, best log loss {best:.4f}")
    made = f"{len(choice.trials)} trials in {seconds[0]:.1f} s, {spent:.1f} s of processor time"
    sys.stdout.write("\n".join([*told, f"chosen: {choice.chosen.family}; {made}", ""]))


if __name__ == "__main__":
    main()
