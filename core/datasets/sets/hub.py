"""A data set on the Hugging Face Hub with columns `image` and `labels`, or a folder that `load_dataset` can read.

    hub:org/name        fetched as a whole, then read at random
    stream:org/name     fetched row by row; with a split such as train[:500], only the files that hold these rows

Training reads in a random order that must be the same when a run is resumed, which a stream can't give: a shuffle of
a stream is one of its buffer only, and does not resume exactly. So streamed rows are laid down on this computer as they
arrive, once, and are then read at random like any others: the samples of a run are the same either way. What streaming
saves is the disk for other columns and for a copy in the cache of the Hub, and the time for rows that are not wanted.

The class names stand beside the data, in `classes.txt` (as in `core.datasets.folder`) or in `id2label.json`.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from core.datasets.samples import Pairs, plain_mapping
from core.datasets.sets.folder import read_classes
from core.images.classes import Classes

LABEL_COLUMNS = ("labels", "label", "annotation", "mask")

_UNREACHABLE = (FileNotFoundError, ConnectionError, RepositoryNotFoundError, ValueError)


def read(name: str, split: str) -> Pairs:
    """Read a split of the data set `name`, e.g. "org/name".

    Raises:
        ValueError: if it can't be had, has no such columns, or says nothing of its classes.
    """
    try:
        rows = datasets.load_dataset(name, split=_own_name(name, split))
    except _UNREACHABLE as error:
        raise _refusal(name, split, error) from error
    column = _label_column(name, rows.column_names)
    rows = rows.select_columns(["image", column]).rename_columns({column: "labels"} if column != "labels" else {})
    classes = _classes(name)
    return Pairs(rows, classes, plain_mapping(classes))


def read_stream(name: str, split: str) -> Pairs:
    """Read a split, or with "train[:500]" its first rows, without fetching more than that.

    Raises:
        ValueError: as `read`, or if the split is not of this form.
    """
    match = re.fullmatch(r"(\w+)(?:\[:(\d+)\])?", split)
    if match is None:
        raise ValueError(f"a streamed split is a name, or a name and a number as in train[:500], got {split!r}")
    try:
        own = _own_name(name, match[1])
        version = datasets.load_dataset_builder(name).hash
        stream = datasets.load_dataset(name, split=own, streaming=True)
    except _UNREACHABLE as error:
        raise _refusal(name, split, error) from error
    column = _label_column(name, stream.column_names or list(next(iter(stream))))
    classes = _classes(name)
    given = {"name": name, "split": own, "column": column, "count": match[2] and int(match[2]), "version": version}
    features = datasets.Features(image=datasets.Image(), labels=datasets.Image())
    try:
        rows = datasets.Dataset.from_generator(_arriving, features=features, gen_kwargs=given)
    except datasets.exceptions.DatasetGenerationError as error:
        raise _refusal(name, split, error.__cause__ or error) from error
    return Pairs(rows, classes, plain_mapping(classes))


def splits(name: str) -> tuple[str, ...]:
    """The names of the splits, with `val` for `validation`.

    Raises:
        ValueError: if the data set can't be had.
    """
    try:
        names = datasets.get_dataset_split_names(name)
    except _UNREACHABLE as error:
        raise _refusal(name, "any", error) from error
    return tuple("val" if split == "validation" else split for split in names)


def _arriving(name: str, split: str, column: str, count: int | None, version: str) -> Iterator[dict[str, Any]]:
    """The rows of a stream with their images as they are stored; `version` tells one state of the data from another."""
    rows = datasets.load_dataset(name, split=split, streaming=True)
    rows = rows.select_columns(["image", column]).decode(False)
    for row in islice(rows, count):  # unlike its own `take`, which opens the file after the last one it needs
        yield {"image": row["image"], "labels": row[column]}


def _own_name(name: str, split: str) -> str:
    """What the data set calls a split: its validation split is `validation` where `datasets` named it by itself."""
    return "validation" if split == "val" and "val" not in datasets.get_dataset_split_names(name) else split


def _refusal(name: str, split: str, error: BaseException) -> ValueError:
    return ValueError(
        f"the data set {name!r} with split {split!r} could not be loaded ({error}); check its name with "
        f"`hf datasets info {name}`, or fetch it first with `hf download --repo-type dataset {name}`"
    )


def _label_column(name: str, columns: list[str]) -> str:
    column = next((column for column in LABEL_COLUMNS if column in columns), None)
    if column is None or "image" not in columns:
        raise ValueError(
            f"{name!r} has the columns {', '.join(columns)}; needed are image and one of "
            f"{', '.join(LABEL_COLUMNS)}: rename them in the data set"
        )
    return column


def _classes(name: str) -> Classes:
    for file in ("classes.txt", "id2label.json"):
        found = _file(name, file)
        if found is not None and file == "classes.txt":
            return read_classes(found)
        if found is not None:
            by_label = {int(label): str(title) for label, title in json.loads(found.read_text()).items()}
            if sorted(by_label) != list(range(len(by_label))):
                raise ValueError(f"id2label.json of {name!r} must count from 0, got {sorted(by_label)}")
            return Classes.coloured([by_label[label] for label in range(len(by_label))])
    raise ValueError(f"{name!r} has neither classes.txt nor id2label.json; add one with a class name for each label")


def _file(name: str, file: str) -> Path | None:
    if Path(name).is_dir():
        return Path(name) / file if (Path(name) / file).is_file() else None
    try:
        return Path(hf_hub_download(name, file, repo_type="dataset"))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None
