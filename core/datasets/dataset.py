"""One value for a data set: all that the commands, the loop, the Hub and the gates must know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.datasets.prepare import Plan
from core.datasets.samples import Pairs
from core.errors import require
from core.images.classes import Classes, Colour

TEST = "test"
"""The split whose labels only an evaluation server has, where there is one."""


@dataclass(frozen=True)
class Licence:
    """The terms of a data set, in our words: what stands at the link is what counts.

    `title` is what the data set is called in print; `name` is the Hub's identifier of a licence, or "other". `own` says
    that the data are a user's own.
    """

    title: str
    terms: str
    link: str | None = None
    name: str = "other"
    own: bool = False


def publishers_own(title: str) -> Licence:
    """The terms of a user's own data, which are not known here."""
    return Licence(title, "Ask who published these weights for the terms of this data.", own=True)


@dataclass(frozen=True)
class Server:
    """What an evaluation server takes: one PNG for each image.

    Attributes:
        home: its address.
        values: the value that is written for each label.
        folder: where in a submission the files lie, with `{split}`.
        cut: the end of an image's name (without .jpg or .png) that its file does without.
        ending: what stands there instead.
        palette: the 256 colours that the files carry; none: they are grey.
        pack: the command that makes the archive to upload.
    """

    home: str
    values: tuple[int, ...]
    folder: str = "."
    cut: str = ""
    ending: str = ""
    palette: tuple[Colour, ...] = ()
    pack: str = "zip -r ../submission.zip ."

    def file(self, image: Path, split: str) -> Path:
        """The file for an image, relative to the submission."""
        return Path(self.folder.format(split=split)) / f"{image.stem.removesuffix(self.cut)}{self.ending}.png"


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: what recipes and commands call it.
        summary: what is in it, in a few words.
        source: where to download it.
        read: opens a split of the folder that holds it, one of its own; a ValueError says what is missing.
        licence: its terms.
        unseen: what is in none of its images, so that no network learns it from them, in a few words.
        classes: names and colours; None: the copy itself says.
        counts: the images of each split, more than one number where two are in use and both are right, none where
            nothing is published.
        extra: the splits that come in packages of their own; a copy is complete without them.
        unions: further splits, which consist of those in `counts`.
        size: the width and height that all images have, if they have one.
        plan: what `prepare` does, for labels that need decoding; None if there is nothing to prepare.
        to_prepare: what that is for, in a few words.
        server: what its evaluation server takes, if it has one.
        in_folder: whether it lies in a folder (`--data DIR`).
        splits_of: finds the splits of a copy; None: those of `counts`.
    """

    name: str
    summary: str
    source: str
    read: Callable[[Path, str], Pairs]
    licence: Licence
    classes: Classes | None = None
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    unions: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    plan: Callable[[Path], Plan] | None = None
    to_prepare: str = ""
    server: Server | None = None
    unseen: str = ""
    in_folder: bool = True
    splits_of: Callable[[Path], tuple[str, ...]] | None = None

    def refuse_wrong_folder(self, data: Path | None) -> None:
        """Refuse a folder that is needed and not there.

        Raises:
            ValueError: if so.
        """
        if self.in_folder:
            require(data is not None, f"the data set {self.name!r} lies in a folder: pass --data DIR")
            require(
                data is not None and data.is_dir(),
                f"--data {data} is not a folder; pass the folder that holds {self.name!r}",
            )

    def open(self, data: Path | None, split: str) -> Pairs:
        """Open a split.

        Raises:
            ValueError: if the folder is needed and missing, it does not hold that data set, or there is no such split.
        """
        self.refuse_wrong_folder(data)
        known = (*self.counts, *self.unions)
        require(
            self.splits_of is not None or split in known,
            f"the data set {self.name!r} has the splits {', '.join(known)}, got {split!r}",
        )
        return self.read(data or Path(), split)

    def splits(self, data: Path | None) -> tuple[str, ...]:
        """The splits that it is published with, or that your own folder or repository has."""
        if self.splits_of is None or (self.in_folder and data is None):
            return tuple(self.counts)
        return self.splits_of(data or Path())
