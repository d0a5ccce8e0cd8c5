"""Is a copy of a data set complete and right? The command `check`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from core import datasets
from core.datasets.about import About
from core.datasets.processes import in_processes
from core.datasets.samples import Pairs, examine, stored, title
from core.images.classes import IGNORE, Classes
from core.images.pictures import colourise, overlay
from core.images.sheets import contact_sheet

CHUNK = 16
"""Pairs that a process is handed at once."""

SHOWN = 6
"""Pairs on a contact sheet."""

SIDE = 512
"""Larger images are reduced to this many pixels there."""

NAMED = 20
"""Files that a report names one by one."""


@dataclass
class Split:
    """What was found in a split; `pixels` counts the labels of each class, the last those that are ignored."""

    pairs: Pairs
    pixels: np.ndarray
    sizes: set[tuple[int, int]] = field(default_factory=set)
    problems: dict[int, str] = field(default_factory=dict)
    wide: int = 0


@dataclass
class Report:
    """What was found in a copy of a data set: its splits, what is missing or wrong, and what is worth knowing."""

    name: str
    splits: dict[str, Split]
    source: str
    missing: list[str]
    notes: list[str]

    @property
    def ready(self) -> bool:
        """Whether it can be trained on as it is."""
        return bool(self.splits) and not self.missing and not any(split.problems for split in self.splits.values())

    def text(self) -> str:
        """The report in words, ending with "ready" or with what is missing."""
        lines = [line for name, split in self.splits.items() for line in _sentences(name, split)]
        lines += _shares(self.splits)
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"missing: {sentence}" for sentence in self.missing]
        lines += [self.source] * bool(self.missing)
        wrong = sum(len(split.problems) for split in self.splits.values())
        if self.ready:
            return "\n".join([*lines, "ready"])
        faults = [f"{wrong} wrong files"] * bool(wrong) + [f"{len(self.missing)} things missing"] * bool(self.missing)
        return "\n".join([*lines, f"not ready: {', '.join(faults)}"])


def inspect(
    name: str,
    folder: Path | None,
    only: Sequence[str] = (),
    processes: int | None = None,
    quiet: bool = False,
) -> Report:
    """Look at every file of a data set.

    Args:
        name: as in `core.datasets.read`.
        folder: where it lies.
        only: the splits that are needed; none named: all that are published, or that a folder of one's own has.
        processes: how many look side by side; 0 does it in this one, None takes one for each core.
        quiet: no progress bar.

    Raises:
        ValueError: if the data set can't be read at all because its name or the folder is wrong.
    """
    about = datasets.ABOUT.get(name, About(name, "it is yours"))
    report = Report(name, {}, about.source, [], [])
    wanted = only or datasets.splits(name, folder)
    for split in wanted:
        try:
            pairs = datasets.read(name, folder, split)
        except ValueError as error:
            if name not in datasets.READERS and not name.startswith((datasets.HUB, datasets.STREAM)):
                raise
            if split in about.extra and not only:
                report.notes.append(f"the split {split} can't be read, and is not needed for the others: {error}")
            else:
                report.missing.append(f"{split}: {error}")
            continue
        report.splits[split] = _look_at(split, pairs, processes, quiet)
        report.missing += _against(about, split, report.splits[split])
    if not wanted:
        report.missing.append(f"{folder} has no split; expected train/images and train/labels in it")
    report.notes += _remarks(name, report.splits, complete=not report.missing)
    return report


def _look_at(split: str, pairs: Pairs, processes: int | None, quiet: bool) -> Split:
    """Decode every image and its labels, and count."""
    found = Split(pairs, np.zeros(len(pairs.classes) + 1, dtype=np.int64))
    rows, mapping = stored(pairs.rows), dict(pairs.mapping)
    starts = range(0, len(rows), CHUNK)

    def parts() -> Iterator[tuple[list[Any], dict[int, int], int]]:
        for start in starts:
            yield [(i, rows[i]) for i in range(start, min(start + CHUNK, len(rows)))], mapping, len(pairs.classes)

    with tqdm(desc=f"checking {split}", total=len(rows), unit="pair", disable=quiet or None) as bar:
        for findings in in_processes(look, parts(), len(starts), processes):
            for index, problem, size, wide, pixels in findings:
                if problem:
                    found.problems[index] = problem
                    continue
                found.sizes.add(size)
                found.wide += wide
                found.pixels += pixels
            bar.update(len(findings))
    return found


Finding = tuple[int, str, tuple[int, int], bool, np.ndarray]
"""A row, what is wrong with it if anything, its width and height, whether its labels have 16 bits, its pixels."""


def look(rows: Sequence[tuple[int, Mapping[str, Any]]], mapping: Mapping[int, int], classes: int) -> list[Finding]:
    """Look at some stored rows; what one process is handed."""
    table = np.full(2**16, classes, dtype=np.int64)
    for value, label in mapping.items():
        table[value] = classes if label == IGNORE else label
    return [_look(index, row, mapping, table, classes) for index, row in rows]


def _look(index: int, row: Mapping[str, Any], mapping: Mapping[int, int], table: np.ndarray, classes: int) -> Finding:
    pixels = np.zeros(classes + 1, dtype=np.int64)
    try:
        size, values = examine(row, title(row, index), mapping, whole=True)
    except ValueError as error:
        return index, str(error), (0, 0), False, pixels
    if values is None:
        return index, "", size, False, pixels
    pixels += np.bincount(table.take(values.astype(np.int64)).ravel(), minlength=classes + 1)
    return index, "", size, values.dtype.itemsize > 1, pixels


def _against(about: About, split: str, found: Split) -> list[str]:
    """What differs from what is published."""
    expected, count = about.counts.get(split, ()), len(found.pairs)
    missing = []
    if expected and count not in expected:
        published = " or ".join(map(str, expected))
        missing.append(f"{split} has {count} images, {published} are published")
    wrong = {size for size in found.sizes if about.size not in (None, size)}
    if wrong:
        width, height = min(wrong)
        missing.append(f"{split} has images of {width} x {height} pixels; those published have {about.size}")
    return missing


def _remarks(name: str, splits: Mapping[str, Split], complete: bool) -> list[str]:
    """What is no fault but worth knowing."""
    remarks = []
    wide = sum(split.wide for split in splits.values())
    if wide:
        remarks.append(
            f"{wide} label files have 16 bits, and are decoded as such at every epoch; "
            f"`python -m core.datasets prepare {name} DIR` writes them with 8"
        )
    labelled = [split for split in splits.values() if split.pixels.sum()]
    if labelled and complete:
        classes = labelled[0].pairs.classes
        seen = np.sum([split.pixels for split in labelled], axis=0)
        absent = [title for title, count in zip(classes.names, seen[:-1], strict=True) if not count]
        if absent:
            remarks.append(f"no pixel has the class {', '.join(absent)}: is the order of the classes right?")
    return remarks


def _sentences(name: str, split: Split) -> Iterable[str]:
    widths, heights = zip(*split.sizes, strict=True) if split.sizes else ((0,), (0,))
    sizes = f"{min(widths)} x {min(heights)}"
    if len(split.sizes) > 1:
        sizes += f" to {max(widths)} x {max(heights)}"
    labels = "" if "labels" in split.pairs.rows.column_names else ", without public labels"
    yield f"{name}: {len(split.pairs)} images of {sizes} pixels{labels}"
    for number, problem in enumerate(split.problems.values()):
        if number == NAMED:
            yield f"wrong: and {len(split.problems) - NAMED} more in {name}"
            return
        yield f"wrong: {problem}"


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


def sheet(report: Report) -> Image.Image | None:
    """A contact sheet of a few pairs from all splits with labels: image, labels, both; None if there are none."""
    labelled = [split for split in report.splits.values() if "labels" in split.pairs.rows.column_names]
    rows = []
    for number, split in enumerate(labelled):
        share = SHOWN // len(labelled) + (number < SHOWN % len(labelled))
        good = [index for index in range(len(split.pairs)) if index not in split.problems]
        chosen = sorted({good[round(place)] for place in np.linspace(0, len(good) - 1, share)}) if good else []
        rows += [_shown(split.pairs, index) for index in chosen]
    return contact_sheet(rows, ("image", "labels", "both"), labelled[0].pairs.classes) if rows else None


def _shown(pairs: Pairs, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = pairs.rows[index]
    image, values = row["image"].convert("RGB"), np.asarray(row["labels"])
    labels = Image.fromarray(pairs.lookup().take(values.astype(np.int64)))
    factor = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small, kept = np.asarray(image.resize(size)), np.asarray(labels.resize(size, Image.Resampling.NEAREST))
    classes: Classes = pairs.classes
    return small, colourise(kept, classes), np.asarray(overlay(small, kept, classes))
