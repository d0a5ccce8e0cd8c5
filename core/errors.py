"""How errors are said: in a sentence with what was given, what is allowed and what to do."""

import difflib
import errno
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_args

OURS = str(Path(__file__).resolve().parents[1])
"""The folder of this code."""


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
        refuse(_told(error)[0])


@contextmanager
def underway() -> Iterator[None]:
    """Say in a sentence what ends a program that was under way, if this code found it; else it keeps its traceback.

    Raises:
        SystemExit: with status 1, in place of what a `raise` of ours says, also in a process that loads images.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        sentence, ours = _told(error)
        if not ours:
            raise
        refuse(sentence, status=1)


def _told(error: BaseException) -> tuple[str, bool]:
    """The sentence of an error, and whether a `raise` of this code says it.

    PyTorch puts the whole traceback of a process that loads images before its sentence.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.filename} has a name that is too long for the disk; choose a shorter one", False
    if "Original Traceback" in text:
        raised = re.findall(r'^ +File "(.+?)", line .*\n(.*)', text, re.MULTILINE)
        last = re.split(r"^ .*\n", text, flags=re.MULTILINE)[-1].strip()
        text = last.partition(": ")[2] or last
    else:
        raised = [(frame.filename, frame.line or "") for frame in traceback.extract_tb(error.__traceback__)]
    return text, bool(raised) and raised[-1][0].startswith(OURS) and raised[-1][1].strip().startswith("raise ")


def refuse(sentence: str, status: int = 2) -> NoReturn:
    """Print a sentence on standard error and leave."""
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(status)
