"""How errors are said: in a sentence with what was given, what is allowed and what to do."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn


def require(holds: bool, sentence: str) -> None:
    """Refuse an impossible value.

    Raises:
        ValueError: with the sentence, if it does not hold.
    """
    if not holds:
        raise ValueError(sentence)


def listed(names: Iterable[str], most: int = 8) -> str:
    """The names in one line, cut after `most` of them."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + rest) or "none"


@contextmanager
def door() -> Iterator[None]:
    """Say what is wrong with the input in a sentence and leave, without a traceback, before anything is done.

    Raises:
        SystemExit: with status 2, in place of a ValueError, or of an OSError such as a file or Hub out of reach.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        refuse(str(error))


def refuse(sentence: str) -> NoReturn:
    """Print a sentence on standard error and leave with status 2."""
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(2)
