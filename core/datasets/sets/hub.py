"""A data set on the Hugging Face Hub with columns `image` and `labels`, or a folder that `load_dataset` can read.

    hub:org/name            fetched as a whole, then read at random
    hub:org/name:config     one of its configurations, where it has several
    stream:org/name         fetched row by row; with a split such as train[:500], only the files that hold these rows

Training reads in a random order that must be the same when a run is resumed, which a stream can't give: a shuffle of
a stream is one of its buffer only, and does not resume exactly. So streamed rows are laid down on this computer as they
arrive, once, and are then read at random like any others: the samples of a run are the same either way. What streaming
saves is the disk for other columns and for a copy in the cache of the Hub, and the time for rows that are not wanted.

The class names stand beside the data, in `classes.txt` (as in `core.datasets.sets.folder`) or in `id2label.json`.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import datasets
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from core.datasets.dataset import DataSet, publishers_own
from core.datasets.samples import Pair, Pairs, plain_mapping
from core.datasets.sets.folder import read_classes
from core.images.classes import IGNORE, Classes
from core.images.reading import Embedded, Source

LABEL_COLUMNS = ("labels", "label", "annotation", "mask")

_UNREACHABLE = (FileNotFoundError, ConnectionError, RepositoryNotFoundError, ValueError)


class Rows(Sequence[Pair]):
    """The rows of a table with columns `image` and `labels`, as they are stored.

    Raises:
        ValueError: if the columns do not hold images.
    """

    def __init__(self, table: datasets.Dataset, name: str) -> None:
        for column in ("image", "labels"):
            kind = table.features[column]
            if not isinstance(kind, datasets.Image):
                raise ValueError(f"the column of the {column} of {name!r} holds {kind}; needed are images")
            table = table.cast_column(column, datasets.Image(decode=False))
        self.table, self.name = table, name

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        row = self.table[index]
        image, labels = (
            _source(row[column], f"the {column} of row {index} of {self.name}") for column in ("image", "labels")
        )
        return Pair(image or Embedded(b"", f"the image of row {index} of {self.name}"), labels)


def _source(file: dict[str, Any] | None, name: str) -> Source | None:
    """What a table holds of an image; errors name the row, and the file that it was."""
    if file is None or not (file["bytes"] or file["path"]):
        return None
    if file["bytes"]:
        return Embedded(file["bytes"], f"{name} ({file['path']})" if file["path"] else name)
    return Path(file["path"])


def dataset(name: str, kind: str, read_split: Callable[[str, str], Pairs]) -> DataSet:
    """A data set of the Hub as a value; `kind` is "hub:" or "stream:"."""
    return DataSet(
        f"{kind}{name}",
        f"images and labels of {name}",
        f"check its name with `hf datasets info {name}`",
        lambda folder, split: read_split(name, split),
        publishers_own(name),
        in_folder=False,
        splits_of=lambda folder: splits(name),
    )


def read(name: str, split: str) -> Pairs:
    """Read a split of the data set `name`, "org/name" or "org/name:config".

    Raises:
        ValueError: if it can't be loaded, has no such columns, or says nothing of its classes.
    """
    place, config = _parts(name)
    try:
        table = datasets.load_dataset(place, config, split=_own_name(name, split))
    except _UNREACHABLE as error:
        raise _refusal(name, split, error) from error
    column = _label_column(name, table.column_names)
    table = table.select_columns(["image", column]).rename_columns({column: "labels"} if column != "labels" else {})
    classes = _classes(place)
    return Pairs(Rows(table, name), classes, plain_mapping(classes))


def read_stream(name: str, split: str) -> Pairs:
    """Read a split, or with "train[:500]" its first rows, without fetching more than that.

    Raises:
        ValueError: as `read`, or if the split is not of this form.
    """
    match = re.fullmatch(r"(\w+)(?:\[:(\d+)\])?", split)
    if match is None:
        raise ValueError(f"a streamed split is a name, or a name and a number as in train[:500], got {split!r}")
    place, config = _parts(name)
    try:
        own = _own_name(name, match[1])
        version = datasets.load_dataset_builder(place, config).hash
        stream = datasets.load_dataset(place, config, split=own, streaming=True)
    except _UNREACHABLE as error:
        raise _refusal(name, split, error) from error
    column = _label_column(name, stream.column_names or list(next(iter(stream))))
    classes = _classes(place)
    given = {"name": name, "split": own, "column": column, "count": match[2] and int(match[2]), "version": version}
    features = datasets.Features(image=datasets.Image(), labels=datasets.Image())
    try:
        table = datasets.Dataset.from_generator(_arriving, features=features, gen_kwargs=given)
    except datasets.exceptions.DatasetGenerationError as error:
        raise _refusal(name, split, error.__cause__ or error) from error
    return Pairs(Rows(table, name), classes, plain_mapping(classes))


def splits(name: str) -> tuple[str, ...]:
    """The names of the splits, with `val` for `validation`.

    Raises:
        ValueError: if the data set can't be loaded.
    """
    try:
        names = datasets.get_dataset_split_names(*_parts(name))
    except _UNREACHABLE as error:
        raise _refusal(name, "any", error) from error
    return tuple("val" if split == "validation" else split for split in names)


def _arriving(name: str, split: str, column: str, count: int | None, version: str) -> Iterator[dict[str, Any]]:
    """The rows of a stream with their images as they are stored; `version` tells one state of the data from another."""
    rows = datasets.load_dataset(*_parts(name), split=split, streaming=True)
    rows = rows.select_columns(["image", column]).decode(False)
    for row in islice(rows, count):  # unlike its own `take`, which opens the file after the last one it needs
        yield {"image": row["image"], "labels": row[column]}


def _own_name(name: str, split: str) -> str:
    """What the data set calls a split: its validation split is `validation` where `datasets` named it by itself."""
    return "validation" if split == "val" and "val" not in datasets.get_dataset_split_names(*_parts(name)) else split


def _parts(name: str) -> tuple[str, str | None]:
    """The name of the data set itself, and of its configuration if that is named."""
    match = re.fullmatch(r"(.+):([\w.-]+)", name)
    return (name, None) if match is None or Path(name).is_dir() else (match[1], match[2])


def _refusal(name: str, split: str, error: BaseException) -> ValueError:
    if "Config name is missing" in str(error):
        names = datasets.get_dataset_config_names(name)
        return ValueError(
            f"the data set {name!r} has the configurations {', '.join(names)}; name one, as in hub:{name}:{names[0]}"
        )
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
            by_label = {
                int(label): str(title) for label, title in json.loads(found.read_text(encoding="utf-8")).items()
            }
            by_label.pop(IGNORE, None)
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
