"""A data set as parquet, in the form that `load_dataset` and `hub:org/name` read, for the Hugging Face Hub."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from huggingface_hub import HfApi
from PIL import Image

from core.datasets.samples import Pairs, examine
from core.images.classes import Classes
from core.images.reading import Embedded
from core.progress import progress

PIECE = 256 * 2**20
"""Bytes of images after which a file ends; a row of a stream waits for no more than that."""


def write(splits: Mapping[str, Pairs], to: Path, summary: str, quiet: bool = False) -> None:
    """Write splits as parquet: images as they are stored, labels as 8-bit PNG with 0, 1, 2, ... and 255 = ignored.

    The folder gets data/SPLIT-00000.parquet and so on, classes.txt with the colours, and a README.md that names the
    files of each split.

    Raises:
        ValueError: if the folder is not empty, a split has no labels or a wrong file, or the classes differ.
    """
    if to.exists() and any(to.iterdir()):
        raise ValueError(f"{to} is not empty; pass a new folder")
    classes = _classes(splits)
    (to / "data").mkdir(parents=True, exist_ok=True)
    for split, pairs in splits.items():
        pieces = _pieces(pairs, quiet, f"writing {split}")
        for number, piece in enumerate(pieces):
            piece.to_parquet(to / "data" / f"{split}-{number:05d}.parquet", batch_size=100)
    lines = [f"{label} {name} {' '.join(map(str, colour))}" for label, (name, colour) in enumerate(_named(classes))]
    (to / "classes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (to / "README.md").write_text(_card(summary, tuple(splits)), encoding="utf-8")


def upload(folder: Path, repository: str, private: bool = True) -> str:
    """Put what `write` left into a data set of the Hub, made if it is not there, in one commit; return its address."""
    api = HfApi()
    address = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(repo_id=address.repo_id, repo_type="dataset", folder_path=folder)
    return str(address)


def _classes(splits: Mapping[str, Pairs]) -> Classes:
    if not splits:
        raise ValueError("there is no split to write; `check` says what is missing")
    first, *others = (pairs.classes for pairs in splits.values())
    if any(classes != first for classes in others):
        raise ValueError(f"the splits {', '.join(splits)} have different classes; write them one by one")
    for split, pairs in splits.items():
        if not pairs.labelled:
            raise ValueError(f"the labels of the split {split} are not public; leave it out")
    return first


def _named(classes: Classes) -> Iterator[tuple[str, tuple[int, int, int]]]:
    return zip(classes.names, classes.palette, strict=True)


def _pieces(pairs: Pairs, quiet: bool, what: str) -> Iterator[datasets.Dataset]:
    """The rows of a split in pieces that fit in memory."""
    table = pairs.lookup()
    waiting: list[dict[str, Any]] = []
    size = 0
    for index in progress(range(len(pairs)), what, len(pairs), "pair", quiet):
        row = pairs.rows[index]
        _, values = examine(row, pairs.mapping)
        image = row.image.content if isinstance(row.image, Embedded) else row.image.read_bytes()
        buffer = BytesIO()
        Image.fromarray(table.take(np.asarray(values, dtype=np.int64))).save(buffer, format="PNG")
        name = Path(str(row.image)).name if Path(str(row.image)).suffix else f"{index:06d}"
        labels = {"bytes": buffer.getvalue(), "path": f"{Path(name).stem}.png"}
        waiting.append({"image": {"bytes": image, "path": name}, "labels": labels})
        size += len(image) + len(labels["bytes"])
        if size >= PIECE:
            yield _table(waiting)
            waiting, size = [], 0
    if waiting:
        yield _table(waiting)


def _table(rows: list[dict[str, Any]]) -> datasets.Dataset:
    features = datasets.Features(image=datasets.Image(), labels=datasets.Image())
    return datasets.Dataset.from_list(rows, features=features)


def _card(summary: str, splits: tuple[str, ...]) -> str:
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
    return (
        "---\ntask_categories:\n- image-segmentation\nconfigs:\n- config_name: default\n  data_files:\n"
        f"{files}---\n\n{summary}\n\n"
        "Columns: `image`, as published, and `labels`, a PNG of class indices in the order of classes.txt, 255 = "
        "ignored. The licence is that of the data set itself; see there before you pass it on.\n"
    )
