"""Text of others in Markdown: it says what it says, and changes nothing around it."""

import html
import re
from collections.abc import Iterable, Sequence

_SIGNS = re.compile(r"([\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def plain(text: object) -> str:
    """Text as itself, on one line, in a sentence or a cell of a table."""
    line = " ".join(str(text).split())
    return html.escape(_SIGNS.sub(r"\\\1", line), quote=False)


def code(text: object) -> str:
    """Text as code on one line, in a sentence or a cell of a table."""
    line = " ".join(str(text).split()).replace("|", "\\|")
    ticks = _longer_than(line, 1)
    space = " " if "`" in line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def fence(text: str, language: str) -> str:
    """Lines as a block of code."""
    ticks = _longer_than(text, 3)
    return f"{ticks}{language}\n{text}\n{ticks}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells, which are Markdown already, under their heads."""
    return "\n".join([row(heads), f"|{'---|' * len(heads)}", *map(row, rows)])


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def _longer_than(text: str, least: int) -> str:
    """So many backticks that the text has nowhere as many in a row."""
    runs = [len(run) for run in re.findall("`+", text)]
    return "`" * max(least, *(run + 1 for run in runs)) if runs else "`" * least
