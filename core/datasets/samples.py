"""Pairs of an image and its labels: what every reader gives, and the check that they can be trained on."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.images.bands import header_of, read_shown
from core.images.classes import IGNORE, Classes
from core.images.reading import Header, Source, missing, read_labels
from core.progress import progress

DARK = 32
"""An image is dark if all its values stay below this of 255."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Where an image and its labels are stored; None where there are no labels."""

    image: Source
    labels: Source | None = None


@dataclass(frozen=True)
class Pairs:
    """A split that can be trained on.

    `rows` is a list, or reads a table row by row. Without public labels, as in some test sets, `labelled` is False.
    `mapping` takes a value found in a label file to a class, or to 255 = ignored; any other value is an error.
    `left_out` are files that lie among the images or labels and are none.
    """

    rows: Sequence[Pair]
    classes: Classes
    mapping: Mapping[int, int]
    labelled: bool = True
    left_out: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def lookup(self) -> np.ndarray:
        """The mapping as a table: `lookup()[value]` is the class, for 8-bit or 16-bit labels alike."""
        table = np.full(2**16, IGNORE, dtype=np.uint8)
        for value, label in self.mapping.items():
            table[value] = label
        return table


class WrongValuesError(ValueError):
    """Labels hold values that are no class."""

    def __init__(self, sentence: str, values: list[int]) -> None:
        super().__init__(sentence, values)
        self.values = values

    def __str__(self) -> str:
        return str(self.args[0])


def plain_mapping(classes: Classes) -> dict[int, int]:
    """Labels that are already what is trained on: each class is itself and 255 is ignored."""
    return {**{label: label for label in range(len(classes))}, IGNORE: IGNORE}


def from_files(images: Iterable[Path], labels: Iterable[Path] | None) -> list[Pair]:
    """Pair image files with label files; with None the labels are not public.

    Raises:
        ValueError: naming the first file that is missing.
    """
    rows = [Pair(image) for image in images] if labels is None else list(map(Pair, images, labels))
    for row in rows:
        for kind, file in (("image", row.image), ("labels", row.labels)):
            if isinstance(file, Path) and not file.is_file():
                raise ValueError(f"{missing(file, kind)}; every image needs its labels under the same name")
    return rows


def refuse_wrong_labels(pairs: Pairs, part: range | None = None, quiet: bool = False) -> np.ndarray:
    """Look at every label file before anything is trained: sizes, kinds and values.

    Args:
        pairs: what to check.
        part: the rows to look at; None looks at all of them.
        quiet: no progress bar.

    Returns:
        which classes occur, as bool k.

    Raises:
        ValueError: naming the file, what is wrong with it, and what is allowed.
    """

    table = pairs.lookup()

    def look(index: int) -> np.ndarray:
        _, values = examine(pairs.rows[index], pairs.mapping, pairs.labelled)
        counts = np.bincount(table.take(_values_of(values)), minlength=IGNORE + 1)
        return counts[: len(pairs.classes)] > 0

    indices = part if part is not None else range(len(pairs))
    with ThreadPoolExecutor() as pool:
        found = progress(pool.map(look, indices), "checking labels", len(indices), "file", quiet)
        return np.any([np.zeros(len(pairs.classes), dtype=bool), *found], axis=0)


def refuse_too_few_classes(split: str, seen: np.ndarray, least: int) -> None:
    """Refuse a split in which fewer than `least` classes occur, of which `seen` is the mark; 255 is none.

    Raises:
        ValueError: with what the labels probably mean.
    """
    if seen.sum() < least:
        raise ValueError(f"{split}: {too_few_classes(np.flatnonzero(seen).tolist())}")


def too_few_classes(seen: list[int]) -> str:
    """What is wrong with labels that hold one class or none, in a sentence."""
    what = f"the class {seen[0]}" if seen else "no class at all"
    return (
        f"the labels hold {what} besides {IGNORE}, which is ignored here; if they are masks of 0 and {IGNORE}, write "
        "the value 1 where they are white, and name two classes"
    )


def _values_of(values: np.ndarray | None) -> np.ndarray:
    """The values that occur in labels of 0 to 65535."""
    if values is None:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.bincount(values.ravel()))


def examine(
    row: Pair, mapping: Mapping[int, int], labelled: bool = True, whole: bool = False
) -> tuple[Header, np.ndarray | None]:
    """Look at a row.

    Args:
        row: the image, and the labels if they are public.
        mapping: the allowed values.
        labelled: whether there must be labels.
        whole: decode the image too, not its header only.

    Returns:
        what the image is, with its width and height as shown, and the values of the labels, h w.

    Raises:
        ValueError: naming the file, what is wrong with it, and what is allowed.
    """
    seen = header_of(row.image)
    if whole:
        pixels = read_shown(row.image)
        seen = seen._replace(height=pixels.shape[0], width=pixels.shape[1], dark=int(pixels.max()) < DARK)
    if not labelled:
        return seen, None
    values = labels_of(row)
    refuse_other_size(row, (seen.height, seen.width), values)
    refuse_other_values(row, values, mapping)
    return seen, values


def labels_of(row: Pair) -> np.ndarray:
    """The values of the labels of a row, h w.

    Raises:
        ValueError: if there are none, or they can't be read.
    """
    if row.labels is None:
        raise ValueError(f"{row.image} has no labels; add them or remove the image")
    return read_labels(row.labels)


def refuse_other_size(row: Pair, size: tuple[int, int], labels: np.ndarray) -> None:
    """Refuse labels that are not as high and wide as their image, both as shown.

    Raises:
        ValueError: with both sizes.
    """
    if labels.shape != size:
        turned = "; one of the two is turned by its EXIF orientation, and both must be as shown"
        raise ValueError(
            f"{row.labels} is {labels.shape[1]} x {labels.shape[0]} pixels but its image {row.image} is {size[1]} x "
            f"{size[0]}; labels need the size of their image{turned if labels.shape == size[::-1] else ''}"
        )


def refuse_other_values(row: Pair, values: np.ndarray, mapping: Mapping[int, int]) -> None:
    """Refuse values that the mapping does not have.

    Raises:
        WrongValuesError: with the values, and those that are allowed.
    """
    if values.dtype.kind not in "ub" and (values.min() < 0 or values.max() >= 2**16):
        raise ValueError(f"{row.labels} holds values from {values.min()} to {values.max()}; labels are 0 to 65535")
    wrong = sorted(set(_values_of(values).tolist()) - mapping.keys())
    if wrong:
        allowed = _ranges(np.array(sorted(mapping)))
        raise WrongValuesError(
            f"{row.labels} holds the value {', '.join(map(str, wrong[:8]))}; allowed are {allowed} ({IGNORE} = "
            "ignored): correct the file or the class list",
            wrong,
        )


def _ranges(values: np.ndarray) -> str:
    """Write 0, 1, 2, 255 as '0..2, 255'."""
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    runs = np.split(values, breaks)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
