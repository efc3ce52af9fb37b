"""`python -m clinical_lakehouse.cli`."""

from clinical_lakehouse.cli import main

main()
