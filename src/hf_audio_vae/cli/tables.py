"""Tables on stdout, as Markdown for reading, or as CSV or JSON for other programs."""

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from hf_audio_vae.evaluation.reports import table

Row = Sequence[str | float]


def print_table(columns: Mapping[str, str], rows: Sequence[Row], format: str) -> None:
    """Print a table.

    Args:
        columns (`Mapping[str, str]`): Names of the columns for programs, with their titles for readers.
        rows (`Sequence`): Values; the first of each row is text.
        format (`str`): `"markdown"` with three decimals; `"csv"` or `"json"`, a list of objects, with all digits.
    """
    if format == "markdown":
        print(table(list(columns.values()), rows))
    elif format == "csv":
        write_rows(list(columns), rows, sys.stdout)
    else:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])


def write_rows(columns: Sequence[str], rows: Sequence[Row], file: TextIO) -> None:
    """Write a table as CSV, with all digits."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def print_json(value: Any) -> None:
    """Print a value as JSON, which has no NaN: numbers that are not finite are `null`."""
    print(json.dumps(_finite(value), indent=2))


def print_remark(text: object, format: str) -> None:
    """Print a line on stdout beside a Markdown table, or on stderr beside an output for programs."""
    print(text, file=sys.stdout if format == "markdown" else sys.stderr)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
