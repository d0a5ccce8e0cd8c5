"""Is a copy of a data set complete and right? The command `check`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.datasets.dataset import TEST, DataSet
from core.datasets.processes import in_processes
from core.datasets.samples import Pair, Pairs, WrongValuesError, examine, labels_of, too_few_classes
from core.errors import listed
from core.images.bands import read_shown
from core.images.classes import IGNORE, Classes
from core.images.pictures import colourise, overlay
from core.images.sheets import contact_sheet
from core.progress import progress

CHUNK = 16
"""Pairs that a process is handed at once."""

SHOWN = 6
"""Pairs on a contact sheet."""

SIDE = 512
"""Larger images are reduced to this many pixels there."""

NAMED = 20
"""Files that a report names one by one."""


MARKS = {
    "wide": "label files have 16 bits, and are decoded as such at every epoch; `python -m core.datasets prepare {name} "
    "DIR` writes them with 8",
    "deep": "images have 16 bits, and are brought to 8: 0..65535 becomes 0..255",
    "transparent": "images have transparent pixels: the colours that are stored there count",
    "turned": "images are turned as their EXIF orientation says: their labels must be as shown, too",
    "dark": "images are nearly black (no value over 31 of 255): are they labels, or 16 bits of which only the lower 12 "
    "are used? Then stretch them to 8 bits first",
}
"""What is no fault of a file but worth knowing, in words that follow the number of such files."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row of these two files, and the values of its labels that are no class, if that is it."""

    sentence: str
    image: str
    labels: str
    values: tuple[int, ...] = ()

    @property
    def file(self) -> str:
        """Which of the two is meant."""
        return self.labels if self.sentence.startswith(self.labels) else self.image

    @property
    def kind(self) -> str:
        """The sentence without the names of files: the same for all that have the same fault."""
        return self.sentence.replace(self.labels, "LABELS").replace(self.image, "IMAGE")


@dataclass
class Split:
    """What was found in a split.

    `pixels` counts the labels of each class, the last those that are ignored; `marks` the files for each of MARKS.
    """

    pairs: Pairs
    pixels: np.ndarray
    sizes: set[tuple[int, int]] = field(default_factory=set)
    problems: dict[int, Problem] = field(default_factory=dict)
    marks: Counter[str] = field(default_factory=Counter)


@dataclass
class Inspection:
    """What was found in a copy of a data set: its splits, what is missing or wrong, and what is worth knowing."""

    dataset: DataSet
    splits: dict[str, Split] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Return True if it can be trained on as it is."""
        return bool(self.splits) and not self.missing and not any(split.problems for split in self.splits.values())

    def text(self) -> str:
        """The report in words, ending with "ready" or with what is missing."""
        own = self.dataset.classes is None
        lines = [line for name, split in self.splits.items() for line in _sentences(name, split, own)]
        lines += _shares(self.splits)
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"missing: {sentence}" for sentence in self.missing]
        lines += [self.dataset.source] * bool(self.missing)
        if self.ready:
            return "\n".join([*lines, "ready"])
        wrong, gaps = sum(len(split.problems) for split in self.splits.values()), len(self.missing)
        faults = [f"{wrong} wrong file{'s' * (wrong > 1)}"] * bool(wrong)
        faults += [f"{gaps} thing{'s' * (gaps > 1)} missing"] * bool(gaps)
        return "\n".join([*lines, f"not ready: {', '.join(faults)}"])


def inspect(
    dataset: DataSet,
    folder: Path | None,
    only: Sequence[str] = (),
    processes: int | None = None,
    quiet: bool = False,
) -> Inspection:
    """Look at every file of a data set.

    Args:
        dataset: what it should be.
        folder: where it lies.
        only: the splits that are needed; none named: all that are published, or that your own folder has.
        processes: how many look side by side; 0 does it in this one, None takes one for each core.
        quiet: no progress bar.

    Raises:
        ValueError: if the data set is not there at all.
    """
    report = Inspection(dataset)
    wanted = only or dataset.splits(folder)
    if not only and not dataset.counts:
        wanted = (*wanted, *(split for split in ("train", "val") if split not in wanted))
    for split in wanted:
        try:
            pairs = dataset.open(folder, split)
        except ValueError as error:
            if split in dataset.extra and not only:
                report.notes.append(f"the split {split} can't be read, and is not needed for the others: {error}")
            elif f": {error}" not in "".join(report.missing):
                report.missing.append(f"{split}: {error}")
            continue
        report.splits[split] = _look_at(split, pairs, processes, quiet)
        report.missing += _against(dataset, split, report.splits[split])
    report.notes += _remarks(dataset, report.splits, complete=not report.missing)
    return report


def _look_at(split: str, pairs: Pairs, processes: int | None, quiet: bool) -> Split:
    """Decode every image and its labels, and count."""
    found = Split(pairs, np.zeros(len(pairs.classes) + 1, dtype=np.int64))
    mapping, count = dict(pairs.mapping), len(pairs)
    starts = range(0, count, CHUNK)

    def parts() -> Iterator[tuple[list[tuple[int, Pair]], dict[int, int], int, bool]]:
        for start in starts:
            indices = range(start, min(start + CHUNK, count))
            yield [(i, pairs.rows[i]) for i in indices], mapping, len(pairs.classes), pairs.labelled

    chunks = in_processes(look, parts(), len(starts), processes)
    findings = (finding for chunk in chunks for finding in chunk)
    for finding in progress(findings, f"checking {split}", count, "pair", quiet):
        if finding.problem is not None:
            found.problems[finding.row] = finding.problem
            continue
        found.sizes.add(finding.size)
        found.marks.update(finding.marks)
        found.pixels += finding.pixels
    found.problems = dict(sorted(found.problems.items()))
    return found


class Finding(NamedTuple):
    """What was found in a row: what is wrong, or its width and height, the pixels of each class, and which MARKS."""

    row: int
    problem: Problem | None
    size: tuple[int, int]
    pixels: np.ndarray
    marks: tuple[str, ...] = ()


def look(rows: Sequence[tuple[int, Pair]], mapping: Mapping[int, int], classes: int, labelled: bool) -> list[Finding]:
    """Look at some rows; what one process is handed."""
    table = np.full(2**16, classes, dtype=np.int64)
    for value, label in mapping.items():
        table[value] = classes if label == IGNORE else label
    return [_look(index, row, mapping, table, classes, labelled) for index, row in rows]


def _look(
    index: int, row: Pair, mapping: Mapping[int, int], table: np.ndarray, classes: int, labelled: bool
) -> Finding:
    pixels, names = np.zeros(classes + 1, dtype=np.int64), (str(row.image), str(row.labels))
    try:
        seen, values = examine(row, mapping, labelled, whole=True)
    except WrongValuesError as error:
        return Finding(index, Problem(str(error), *names, tuple(error.values)), (0, 0), pixels)
    except ValueError as error:
        return Finding(index, Problem(str(error), *names), (0, 0), pixels)
    wide = values is not None and values.dtype.itemsize > 1
    found = {"wide": wide, "deep": seen.deep, "transparent": seen.transparent, "turned": seen.turned, "dark": seen.dark}
    if values is not None:
        pixels += np.bincount(table.take(values.astype(np.int64)).ravel(), minlength=classes + 1)
    marks = tuple(mark for mark, holds in found.items() if holds)
    return Finding(index, None, (seen.width, seen.height), pixels, marks)


def _against(dataset: DataSet, split: str, found: Split) -> list[str]:
    """What differs from what is published, and what can't be trained on."""
    expected, count = dataset.counts.get(split, ()), len(found.pairs)
    missing = []
    if expected and count not in expected:
        published = " or ".join(map(str, expected))
        missing.append(f"{split} has {count} images, {published} are published")
    wrong = {size for size in found.sizes if dataset.size not in (None, size)}
    if wrong:
        width, height = min(wrong)
        missing.append(f"{split} has images of {width} x {height} pixels; those published have {dataset.size}")
    seen = np.flatnonzero(found.pixels[:-1]).tolist()
    judged = found.pixels.any() and not (split == TEST and dataset.server is not None)
    if judged and (not seen or (len(seen) == 1 and (found.pixels[-1] or split == "train"))):
        missing.append(f"{split}: {too_few_classes(seen)}")
    return missing


def _remarks(dataset: DataSet, splits: Mapping[str, Split], complete: bool) -> list[str]:
    """What is no fault but worth knowing."""
    marks = sum((split.marks for split in splits.values()), Counter[str]())
    remarks = [f"{marks[mark]} {said.format(name=dataset.name)}" for mark, said in MARKS.items() if marks[mark]]
    left_out = [file for split in splits.values() for file in split.pairs.left_out]
    if left_out:
        remarks.append(
            f"{len(left_out)} files are no images by their names, and left out: {listed(map(str, left_out))}"
        )
    labelled = [split for split in splits.values() if split.pixels.sum()]
    if labelled and complete:
        classes = labelled[0].pairs.classes
        seen = np.sum([split.pixels for split in labelled], axis=0)
        absent = [title for title, count in zip(classes.names, seen[:-1], strict=True) if not count]
        if absent:
            remarks.append(f"no pixel has the class {', '.join(absent)}: is the order of the classes right?")
    return remarks


def _sentences(name: str, split: Split, own_classes: bool) -> Iterable[str]:
    labels = "" if split.pairs.labelled else ", without public labels"
    yield f"{name}: {len(split.pairs)} images{_sizes(split.sizes)}{labels}"
    problems = list(split.problems.values())
    beyond = [problem for problem in problems if problem.values and max(problem.values) < IGNORE]
    if own_classes and beyond:
        needed = 1 + max(value for problem in beyond for value in problem.values)
        many = f"{len(beyond)} files hold" if len(beyond) > 1 else "a file holds"
        yield (
            f"wrong: the list of classes has {len(split.pairs.classes)} names, the labels need {needed}: {many} such "
            f"values, the first: {beyond[0].sentence}"
        )
        problems = [problem for problem in problems if problem not in beyond]
    alike: dict[str, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(problem.kind, []).append(problem)
    for first, *others in list(alike.values())[:NAMED]:
        also = f"; the same of {listed((other.file for other in others), NAMED)}" if others else ""
        yield f"wrong: {first.sentence}{also}"
    if len(alike) > NAMED:
        yield f"wrong: and {sum(map(len, list(alike.values())[NAMED:]))} more in {name}"


def _sizes(sizes: set[tuple[int, int]]) -> str:
    if not sizes:
        return ", none of them right"
    widths, heights = zip(*sizes, strict=True)
    smallest = f" of {min(widths)} x {min(heights)}"
    return f"{smallest} to {max(widths)} x {max(heights)} pixels" if len(sizes) > 1 else f"{smallest} pixels"


def _shares(splits: Mapping[str, Split]) -> list[str]:
    """The share of each class among the pixels that are not ignored, in percent, a column for each split."""
    labelled = {name: split for name, split in splits.items() if split.pixels.sum()}
    if not labelled:
        return []
    classes = next(iter(labelled.values())).pairs.classes
    width = max(map(len, (*classes.names, "share of pixels, %")))
    lines = [f"{'share of pixels, %':<{width}}" + "".join(f"{name:>14}" for name in labelled)]
    for label, title_ in enumerate((*classes.names, "(ignored, of all)")):
        cells = [_share(split.pixels, label) for split in labelled.values()]
        lines.append(f"{title_:<{width}}" + "".join(f"{cell:>14.3f}" for cell in cells))
    return lines


def _share(pixels: np.ndarray, label: int) -> float:
    whole = pixels.sum() if label == len(pixels) - 1 else pixels[:-1].sum()
    return float(100 * pixels[label] / max(whole, 1))


def sheet(report: Inspection) -> Image.Image | None:
    """A contact sheet of a few pairs from all splits with labels: image, labels, both; None if there are none."""
    labelled = [split for split in report.splits.values() if split.pairs.labelled]
    rows = []
    for number, split in enumerate(labelled):
        share = SHOWN // len(labelled) + (number < SHOWN % len(labelled))
        good = [index for index in range(len(split.pairs)) if index not in split.problems]
        chosen = sorted({good[round(place)] for place in np.linspace(0, len(good) - 1, share)}) if good else []
        rows += [_shown(split.pairs, index) for index in chosen]
    return contact_sheet(rows, ("image", "labels", "both"), labelled[0].pairs.classes, ignored=True) if rows else None


def _shown(pairs: Pairs, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = pairs.rows[index]
    image, labels = (
        Image.fromarray(read_shown(row.image)),
        Image.fromarray(pairs.lookup().take(labels_of(row).astype(np.int64))),
    )
    factor = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small, kept = np.asarray(image.resize(size)), np.asarray(labels.resize(size, Image.Resampling.NEAREST))
    classes: Classes = pairs.classes
    return small, colourise(kept, classes), np.asarray(overlay(small, kept, classes))
