"""How errors are said: in a sentence with what was given, what is allowed and what to do."""

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, get_args


def require(holds: bool, sentence: str) -> None:
    """Refuse an impossible value.

    Raises:
        ValueError: with the sentence, if it does not hold.
    """
    if not holds:
        raise ValueError(sentence)


def unknown(what: str, given: object, allowed: Iterable[object]) -> str:
    """Say that `given` is not among `allowed`, and which of them is closest."""
    names = [str(name) for name in allowed]
    closest = difflib.get_close_matches(str(given), names, n=1, cutoff=0.4)
    suggestion = f"; did you mean {closest[0]!r}?" if closest else ""
    return f"there is no {what} {given!r}, only {', '.join(names)}{suggestion}"


def refuse_unknown(name: str, value: object, words: Any) -> None:
    """Refuse a word that is not one of a Literal's, which the Literal alone does not.

    Raises:
        ValueError: naming the word and the allowed ones.
    """
    allowed = get_args(words)
    known = any(type(value) is type(word) and value == word for word in allowed)  # 8.0 and True are no whole numbers
    require(known, f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


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
