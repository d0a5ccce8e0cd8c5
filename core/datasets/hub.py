"""A data set on the Hugging Face Hub with columns `image` and `labels`, or a folder that `load_dataset` can read.

The class names stand beside the data, in `classes.txt` (as in `core.datasets.folder`) or in `id2label.json`.
"""

import json
from pathlib import Path

import datasets
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from core.classes import Classes
from core.datasets.folder import read_classes
from core.datasets.pairs import Pairs, plain_mapping

LABEL_COLUMNS = ("labels", "label", "annotation", "mask")


def read(name: str, split: str) -> Pairs:
    """Read a split of the data set `name`, e.g. "org/name".

    Raises:
        ValueError: if it can't be had, has no such columns, or says nothing of its classes.
    """
    try:
        rows = datasets.load_dataset(name, split="validation" if split == "val" and _renamed(name) else split)
    except (FileNotFoundError, ConnectionError, RepositoryNotFoundError, ValueError) as error:
        raise ValueError(
            f"the data set {name!r} with split {split!r} could not be loaded ({error}); check its name with "
            f"`hf datasets info {name}`, or fetch it first with `hf download --repo-type dataset {name}`"
        ) from error
    column = next((column for column in LABEL_COLUMNS if column in rows.column_names), None)
    if column is None or "image" not in rows.column_names:
        raise ValueError(
            f"{name!r} has the columns {', '.join(rows.column_names)}; needed are image and one of "
            f"{', '.join(LABEL_COLUMNS)}: rename them in the data set"
        )
    rows = rows.select_columns(["image", column]).rename_columns({column: "labels"} if column != "labels" else {})
    classes = _classes(name)
    return Pairs(rows, classes, plain_mapping(classes))


def _renamed(name: str) -> bool:
    """Whether the data set calls its validation split `validation`, as `datasets` does by itself."""
    return "val" not in datasets.get_dataset_split_names(name)


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
