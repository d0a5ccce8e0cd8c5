"""What the official servers take: predictions as files, and the check of a folder before it is uploaded.

evaluate.py RECIPE --submit DIR                             writes the files of the recipe's test split, and checks them
python -m core.datasets submission NAME DIR --data DATA     checks a folder alone

Which files, with which values, is the `server` of a data set's module; all have 8 bits and the size of their image.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from PIL import Image
from torch import Tensor

from core import datasets
from core.datasets import Pairs
from core.datasets.dataset import TEST, Server
from core.errors import require
from core.images.classes import Colour
from core.progress import progress

SHOWN = 5
"""How many wrong files an error names."""


@dataclass(frozen=True)
class Submission:
    """A folder for a server: which file belongs to which image, and the size of each."""

    server: Server
    folder: Path
    files: tuple[Path, ...]
    images: tuple[Path, ...]

    def write(self, index: int, prediction: Integer[Tensor, "h w"]) -> None:
        """Write the prediction of an image, labels at its own size."""
        values = np.array(self.server.values, dtype=np.uint8)[prediction.cpu().numpy()]
        picture = Image.fromarray(values)
        if self.server.palette:
            picture.putpalette(_flat(self.server.palette))
        path = self.folder / self.files[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)

    def check(self, quiet: bool = False) -> None:
        """Look at every file as the server will: names, number, format, mode, palette, size and values.

        Raises:
            ValueError: with the first few files that are wrong, and what is wrong with them.
        """
        require(self.folder.is_dir(), f"there is no folder {self.folder}; evaluate.py --submit {self.folder} makes it")
        present = {path.relative_to(self.folder) for path in self.folder.rglob("*") if not path.is_dir()}
        wrong = [f"{path} is missing" for path in sorted(set(self.files) - present)]
        wrong += [f"{path} does not belong there" for path in sorted(present - set(self.files))]
        known = [(path, image) for path, image in zip(self.files, self.images, strict=True) if path in present]
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda pair: self._problem(*pair), known)
            bar = progress(found, "checking the submission", len(known), "file", quiet)
            wrong += [problem for problem in bar if problem]
        if wrong:
            more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            raise ValueError(
                f"{self.folder} would be refused by {self.server.home}: {'; '.join(wrong[:SHOWN])}{more}. "
                "Write it again into an empty folder with evaluate.py --submit"
            )

    def _problem(self, path: Path, image: Path) -> str:
        """What is wrong with a file; nothing if it is right."""
        try:
            with Image.open(self.folder / path) as opened, Image.open(image) as seen:
                values, size = np.asarray(opened), seen.size
        except (OSError, SyntaxError) as error:
            return f"{path} can't be read as an image ({error})"
        mode = "P" if self.server.palette else "L"
        if opened.format != "PNG" or opened.mode != mode:
            return f"{path} is a {opened.format} of mode {opened.mode}, not a PNG of mode {mode} (8 bits, one channel)"
        if opened.size != size:
            return f"{path} is {opened.width} x {opened.height} pixels, but its image is {size[0]} x {size[1]}"
        others = np.setdiff1d(values, self.server.values)
        if others.size:
            return f"{path} holds the value {', '.join(map(str, others[:SHOWN]))}, which is no class"
        used = 3 * (int(values.max()) + 1)
        if self.server.palette and (opened.getpalette() or [])[:used] != _flat(self.server.palette)[:used]:
            return f"{path} has other colours than the server's palette"
        return ""


def _flat(palette: tuple[Colour, ...]) -> list[int]:
    return [part for colour in palette for part in colour]


def served() -> list[str]:
    """The data sets that have a server."""
    return [dataset.name for dataset in datasets.DATASETS if dataset.server is not None]


def server_of(name: str) -> Server:
    """The server of a data set.

    Raises:
        ValueError: if it has none.
    """
    server = datasets.find(name).server
    if server is None:
        known = ", ".join(served())
        raise ValueError(f"no server takes predictions of {name!r}; there is one for {known}: leave out --submit")
    return server


def without_labels(name: str, split: str, pairs: Pairs) -> bool:
    """Return True if only a server knows the labels of a split; Cityscapes' files there are ignored everywhere."""
    return not pairs.labelled or (split == TEST and datasets.find(name).server is not None)


def expected(name: str, split: str, pairs: Pairs, folder: Path) -> Submission:
    """What a submission consists of.

    Args:
        name: the data set.
        split: one of its splits; of `test`, all images must be there.
        pairs: the images of the split.
        folder: where the files are or will be.

    Raises:
        ValueError: if no server takes it, images are missing, or the data set does not lie in files of its own names.
    """
    server = server_of(name)
    dataset = datasets.find(name)
    counts = dataset.counts.get(split, ())
    require(
        split != TEST or len(pairs) in counts,
        f"{server.home} wants {' or '.join(map(str, counts))} predictions, but there are {len(pairs)} images; complete "
        f"the data set: {dataset.source}",
    )
    images = tuple(_paths(pairs))
    files = tuple(server.file(image, split) for image in images)
    require(len(set(files)) == len(files), f"several images of {name!r}, {split}, have one name; their files would too")
    return Submission(server, folder, files, images)


def _paths(pairs: Pairs) -> Iterator[Path]:
    for row in pairs.rows:
        if not isinstance(row.image, Path):
            raise ValueError("the names of a submission are those of the image files, but the images have none")
        yield row.image


def refuse_used(folder: Path) -> None:
    """Refuse a folder for a new submission that already holds something.

    Raises:
        ValueError: if it does, or is a file.
    """
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"--submit {folder} is not an empty folder; a server refuses what does not belong there: pass another",
    )


def ready(submission: Submission) -> str:
    """What to do with a submission that is right."""
    server = submission.server
    return (
        f"ready: {submission.folder} holds {len(submission.files)} predictions; pack them by "
        f"`cd {submission.folder} && {server.pack}` and upload the archive to {server.home}"
    )
