"""How far a long command is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SILENCE = 30.0
"""Seconds after which a log gets a line."""


def progress(items: Iterable[Item], title: str, total: int, unit: str, quiet: bool = False) -> Iterator[Item]:
    """Give the items, and say on standard error how many of `total` are done."""
    if quiet or sys.stderr.isatty():
        yield from tqdm(items, title, total, unit=unit, disable=quiet, leave=False)
        return
    said = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - said >= SILENCE:
            said = time.monotonic()
            sys.stderr.write(f"{title}: {number} of {total} {unit}s\n")
            sys.stderr.flush()
