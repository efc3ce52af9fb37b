"""Rows on a terminal or into a pipe."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text


def grid(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on a terminal; tab-separated lines into a pipe."""
    if not sys.stdout.isatty():
        for row in (headings, *rows):
            click.echo("\t".join(str(cell) for cell in row))
        return
    made = Grid(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    Console().print(made)


def show_rows(style: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows as style json (one object a line), csv or table."""
    if style == "json":
        for row in rows:
            click.echo(json.dumps(dict(zip(columns, row, strict=True)), default=str))
    elif style == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        click.echo(text.getvalue(), nl=False)
    else:
        grid(columns, rows)
