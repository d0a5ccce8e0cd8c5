"""What is published about a data set: what `list` prints and `check` holds a copy against."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class About:
    """A data set in a few words and numbers.

    `counts` has the number of images of each split, more than one where two are in use and both are right, none where
    nothing is published; the splits in `extra` come in packages of their own, and a copy is complete without them.
    `size` is the width and height that all images have, if they have one. `prepare` says what `prepare` is for.
    """

    summary: str
    source: str
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    prepare: str = ""
