"""Labels that need decoding (.mat, JSON, 16 bits) become 8-bit PNG files, once, beside a manifest.

A reader that can't use the files of a data set as they are has a plan: which label image comes from what. `prepare`
follows it in parallel processes and leaves

    prepared.json       what this is; for each split the pairs of an image and a label file, relative to this folder;
                        size and time of change of every file that labels were made from
    labels/NAME.png     the values that the data set itself gives its classes

The images stay where they are. Every file appears under its name only when it is whole, and the manifest says
`finished` only when every file is there: `prepare` after a kill makes what is missing, and nothing twice.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.datasets.processes import in_processes
from core.datasets.samples import Pair, from_files
from core.files import make_folder, write_json, written_aside
from core.images.reading import header
from core.progress import progress

MANIFEST = "prepared.json"
VERSION = 2
"""Counts up when labels are made in another way: what an older version made is then made again."""

CHUNK = 16
"""Label images that a process is handed at once."""


@dataclass(frozen=True)
class Decoding:
    """How one label image is made: `decode(given)`, from the file `source`; None means that the image is left out.

    `decode` is a function of a module and `given` is plain data, so that another process can be handed both.
    """

    stem: str
    source: Path
    decode: Callable[[Any], np.ndarray | None]
    given: Any


@dataclass(frozen=True)
class Plan:
    """What `prepare` does for a data set.

    `home` is the folder that is found whatever level the user names; `splits` holds an image and its labels each: a
    file that needs no decoding, or a `Decoding`. `copied` are files that the reader wants beside the labels. `found` is
    False if its reader takes what was prepared only where that folder itself is named.
    """

    name: str
    home: Path
    splits: Mapping[str, Sequence[tuple[Path, Path | Decoding]]]
    copied: tuple[Path, ...] = ()
    found: bool = True


def folder_for(home: Path, name: str) -> Path:
    """Where `prepare` leaves its results without `--to`."""
    return home / f"prepared-{name}"


def manifest(place: Path) -> dict[str, Any]:
    """What `prepare` wrote about its results: name, version, finished, splits, sources.

    Raises:
        ValueError: if there is no manifest or it is damaged.
    """
    try:
        found = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return {key: found[key] for key in ("name", "version", "finished", "splits")} | {
            "sources": found.get("sources", {})
        }
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place / MANIFEST} is damaged or missing ({error!r}); remove the folder and prepare it again"
        ) from error


def prepared(folder: Path, name: str) -> Path | None:
    """The prepared form of a data set: the folder itself or one in it; None if there is none.

    Raises:
        ValueError: if it is of another data set, unfinished, or of another version.
    """
    for place in (folder, folder_for(folder, name)):
        if not (place / MANIFEST).is_file():
            continue
        found = manifest(place)
        again = f"run `python -m core.datasets prepare {name} DIR{'' if place != folder else f' --to {place}'}` again"
        if found["name"] != name:
            raise ValueError(f"{place} was prepared from {found['name']!r}, not {name!r}; pass the folder of {name}")
        if found["version"] != VERSION:
            raise ValueError(f"{place} was prepared by version {found['version']} of this code, not {VERSION}; {again}")
        if not found["finished"]:
            raise ValueError(f"the preparation in {place} was interrupted or met files that it could not use; {again}")
        return place
    return None


def prepared_rows(place: Path, split: str) -> list[Pair]:
    """The pairs of a split of what `prepared` found.

    Raises:
        ValueError: if the split was not prepared, or a file is gone.
    """
    splits = manifest(place)["splits"]
    if not splits.get(split):
        raise ValueError(
            f"{place} has the splits {', '.join(name for name, pairs in splits.items() if pairs)}, got {split!r}; "
            "complete the data set and prepare it again"
        )
    return from_files(
        [place / image for image, _ in splits[split]],
        [place / labels for _, labels in splits[split]],
    )


def command(name: str, folder: Path) -> str:
    """The sentence of a reader that meets a folder which is not prepared."""
    return f"convert its labels once with `python -m core.datasets prepare {name} {folder}`"


def prepare(plan: Plan, to: Path | None = None, processes: int | None = None, quiet: bool = False) -> list[str]:
    """Make the label images of a plan that are not there yet, and the manifest.

    Args:
        plan: what to make.
        to: where; None: in the data set's own folder.
        processes: how many work side by side; 0 does it in this one, None takes one for each core.
        quiet: no progress bar.

    Returns:
        what could not be decoded, one sentence for each file; the manifest is then not finished.

    Raises:
        ValueError: if the folder holds another data set's labels, or a process was killed.
    """
    place = to if to is not None else folder_for(plan.home, plan.name)
    before = manifest(place) if (place / MANIFEST).is_file() else None
    if before is not None and before["name"] != plan.name:
        raise ValueError(f"{place} holds labels prepared from {before['name']!r}; pass another folder with --to")
    made = place / "labels"
    make_folder(made)
    tasks = _tasks(plan)
    sources = _states(place, tasks)
    known = before["sources"] if before is not None and before["version"] == VERSION else {}
    for _, labels in tasks:
        source = _from(place, labels.source)
        if known.get(source) != sources[source]:
            _target(made, labels).unlink(missing_ok=True)
    _write_manifest(place, plan.name, {}, sources, finished=False)

    work = [task for task in tasks if not _target(made, task[1]).is_file()]
    left_out, problems = set(), []
    results = _results(work, made, processes)
    for stem, kept, problem in progress(results, "preparing labels", len(work), "file", quiet):
        if problem:
            problems.append(problem)
        elif not kept:
            left_out.add(stem)
    for file in plan.copied:
        with written_aside(place / file.name) as aside:
            aside.write_bytes(file.read_bytes())
    splits = {split: _paths(place, pairs, left_out) for split, pairs in plan.splits.items()}
    _write_manifest(place, plan.name, splits, sources, finished=not problems)
    return sorted(problems)


def _write_manifest(
    place: Path, name: str, splits: Mapping[str, list[list[str]]], sources: Mapping[str, list[int]], finished: bool
) -> None:
    written = {"name": name, "version": VERSION, "finished": finished, "splits": splits, "sources": sources}
    write_json(place / MANIFEST, written)


def _paths(place: Path, pairs: Sequence[tuple[Path, Path | Decoding]], left_out: set[str]) -> list[list[str]]:
    """The pairs of a split as the manifest holds them: relative, so that data and labels can move together."""
    kept = [pair for pair in pairs if not (isinstance(pair[1], Decoding) and pair[1].stem in left_out)]
    return [
        [_from(place, part if isinstance(part, Path) else _target(place / "labels", part)) for part in pair]
        for pair in kept
    ]


def _tasks(plan: Plan) -> list[tuple[Path, Decoding]]:
    """Every label image to be made, once, with its image."""
    wanted = {
        labels.stem: (image, labels)
        for pairs in plan.splits.values()
        for image, labels in pairs
        if isinstance(labels, Decoding)
    }
    return list(wanted.values())


def _target(made: Path, labels: Decoding) -> Path:
    return made / f"{labels.stem}.png"


def _states(place: Path, tasks: Sequence[tuple[Path, Decoding]]) -> dict[str, list[int]]:
    """Size and time of change of every file that labels are made from; a file put in its place has others, also older.

    A file that is missing has none, and its labels are not made.
    """
    files = {labels.source for _, labels in tasks}
    states = {file: file.stat() if file.is_file() else None for file in files}
    return {_from(place, file): [state.st_size, state.st_mtime_ns] if state else [] for file, state in states.items()}


def _from(place: Path, file: Path) -> str:
    """The way from a folder to a file, with slashes on every system; whole if they lie on two drives of Windows."""
    drives = {os.path.splitdrive(os.path.abspath(path))[0] for path in (place, file)}
    return (Path(os.path.relpath(file, place)) if len(drives) == 1 else file.absolute()).as_posix()


Result = tuple[str, bool, str]
"""A stem, whether its image is kept, and what is wrong with it if anything."""


def _results(work: Sequence[tuple[Path, Decoding]], made: Path, processes: int | None) -> Iterator[Result]:
    starts = range(0, len(work), CHUNK)
    for results in in_processes(
        _make_all, ((work[start : start + CHUNK], made) for start in starts), len(starts), processes
    ):
        yield from results


def _make_all(chunk: Sequence[tuple[Path, Decoding]], made: Path) -> list[Result]:
    """Make some label images; what one process is handed."""
    return [_make(image, labels, made) for image, labels in chunk]


def _make(image: Path, labels: Decoding, made: Path) -> Result:
    """Make one label image; what its source has wrong becomes a sentence that names it."""
    target = _target(made, labels)
    try:
        values = labels.decode(labels.given)
        if values is None:
            target.unlink(missing_ok=True)
            return labels.stem, False, ""
        width, height, *_ = header(image)
        if values.shape != (height, width):
            raise ValueError(
                f"its labels are {' x '.join(map(str, values.shape[::-1]))} pixels but {image} is {width} x {height}"
            )
        with written_aside(target) as aside:
            Image.fromarray(values.astype(np.uint8, casting="safe")).save(aside, format="PNG")
    except Exception as error:  # each library has its own for a damaged file; the others must go on
        said = str(error) or type(error).__name__
        return (
            labels.stem,
            False,
            said if said.startswith(str(labels.source)) else f"{labels.source} ({labels.stem}): {said}",
        )
    return labels.stem, True, ""
