"""Segment pictures: python -m hub.predict WEIGHTS IMAGE... --to DIR

WEIGHTS is a run folder, a bundled network (danet-tiny-camvid), or org/name on the Hugging Face Hub. An IMAGE
is a file, or a folder, which is searched for images; the frames of a video are a folder. For each picture DIR gets
`overlays/NAME.png` to look at and `labels/NAME.png` to compute with (8-bit class indices in the colours of the classes,
which `classes.txt` names). What was found in a folder keeps its place below the folder's name. A picture that can't be
read or is too large is left out, the others are segmented; the end names what was left out, and the exit status is then
1.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from PIL import Image

from core import machine
from core.errors import door, require
from core.files import make_folder, said_if_unwritable, written_aside
from core.images.bands import header_of
from core.images.reading import ENDINGS, missing
from core.memory import device_of, free_memory
from core.networks.network import Network
from core.networks.prediction import Prediction
from core.networks.workload import scores_bytes
from core.progress import progress
from core.recipe import FP16, Precision, Protocol
from core.run import WHERE
from hub.networks import from_pretrained


@dataclass(frozen=True)
class Options:
    """What to segment, and how."""

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=WHERE)]
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(help="image files and folders of images")]
    to: Annotated[Path, tyro.conf.arg(help="where the overlays and labels go")]
    revision: Annotated[str | None, tyro.conf.arg(help="branch, tag or commit on the Hub")] = None
    protocol: Annotated[
        Literal["own", "own-unbounded", "whole"],
        tyro.conf.arg(
            help="as the checkpoint's recipe tests, also if that asks for far more work than usual, or cheaper: the "
            "whole image once"
        ),
    ] = "own"
    opacity: Annotated[float, tyro.conf.arg(help="of the colours, from 0 to 1")] = 0.5
    device: Annotated[str | None, tyro.conf.arg(help="cpu, cuda, cuda:1, mps; None: a GPU if there is one")] = None
    precision: Annotated[
        Precision, tyro.conf.arg(help="of products and convolutions; half precision is faster on a GPU")
    ] = "fp32"
    verify: Annotated[bool, tyro.conf.arg(help="compare the weights with their fingerprint first")] = False

    def __post_init__(self) -> None:
        require(bool(self.images), f"give image files, or folders that hold files, {' '.join(ENDINGS)}")
        require(
            0 <= self.opacity <= 1,
            f"--opacity must be from 0 (the image only) to 1 (the colours only), got {self.opacity}",
        )


def find(images: tuple[Path, ...], to: Path) -> dict[Path, Path]:
    """Which file becomes which picture below `to`, in natural order: frame_2 before frame_10.

    Raises:
        ValueError: if there is no such file or folder, a folder has no images, two would become one, or the results
            would lie among the images.
    """
    found: dict[Path, Path] = {}
    for given in images:
        if given.is_dir():
            if to.resolve().is_relative_to(given.resolve()):
                raise ValueError(f"--to {to} lies in {given}, whose images are the input; choose a folder beside it")
            files = sorted(filter(_is_image, given.rglob("*")), key=_natural)
            names = [Path(given.resolve().name) / file.relative_to(given) for file in files]
        else:
            files, names = [given] if _is_image(given) and given.is_file() else [], [Path(given.name)]
        if not files:
            what = f"{given} {'has no images' if given.is_dir() else 'is no image by its name'}"
            what = what if given.exists() else missing(given)
            raise ValueError(f"{what}; give files, or folders that hold files, {' '.join(ENDINGS)}")
        for file, name in zip(files, names, strict=True):
            name = name.with_suffix(".png")
            if name in found and found[name].resolve() != file.resolve():
                raise ValueError(f"{found[name]} and {file} would both become {name}; rename one")
            found[name] = file
    return {file: name for name, file in found.items()}


def _natural(file: Path) -> list[tuple[int, str]]:
    """Sort numbers in names by their value."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def left_out(images: tuple[Path, ...]) -> list[Path]:
    """What lies in the folders and is no image by its name."""
    folders = [given for given in images if given.is_dir()]
    return [file for given in folders for file in sorted(given.rglob("*")) if file.is_file() and not _is_image(file)]


def _is_image(file: Path) -> bool:
    """Return True if the name is one of an image; macOS leaves files that begin with a dot beside them."""
    return file.suffix.lower() in ENDINGS and not file.name.startswith(".") and (file.is_file() or not file.exists())


def predict(options: Options, network: Network, found: dict[Path, Path]) -> list[str]:
    """Segment the files one after another, and write what becomes of each; return why some could not be."""
    own = network.about.protocol if network.about else Protocol()
    protocol = {"own": None, "own-unbounded": own, "whole": Protocol()}[options.protocol]
    make_folder(options.to)
    with said_if_unwritable(options.to / "classes.txt"):
        (options.to / "classes.txt").write_text(
            "".join(f"{' '.join(name.split())}\n" for name in network.classes.names), encoding="utf-8"
        )
    problems = []
    for file, name in progress(found.items(), "predicting", len(found), "image"):
        try:
            _refuse_too_large(file, network, protocol)
            prediction = network.predict(file, protocol, options.precision)
        except ValueError as error:
            problems.append(str(error))
            continue
        for folder, picture in (
            ("overlays", prediction.overlay(options.opacity)),
            ("labels", _palette_image(prediction)),
        ):
            path = options.to / folder / name
            make_folder(path.parent)
            with written_aside(path) as aside:
                picture.save(aside, format="PNG")
    return problems


def _refuse_too_large(file: Path, network: Network, protocol: Protocol | None) -> None:
    """Refuse a picture whose scores alone take more than the memory of this machine."""
    width, height, *_ = header_of(file)
    used = protocol or (network.about.protocol if network.about else Protocol())
    needed, there = scores_bytes(height, width, network.num_classes, used), free_memory(torch.device("cpu"))
    if needed > there:
        raise ValueError(
            f"{file} has {width} x {height} pixels; the scores of its {network.num_classes} classes take "
            f"{needed / 2**30:.1f} GiB with the scales {used.scales}, and {there / 2**30:.1f} GiB are free: "
            "cut it into tiles, reduce it, or pass --protocol whole"
        )


def _palette_image(prediction: Prediction) -> Image.Image:
    """The labels as an image of class indices that shows their colours."""
    image = Image.fromarray(prediction.labels.numpy())
    image.putpalette([value for colour in prediction.classes.palette for value in colour])
    return image


def main() -> None:
    """Segment what the command line says."""
    with door():
        options = tyro.cli(Options, description=__doc__)
        found = find(options.images, options.to)
        device = device_of(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        require(options.precision != "fp16" or device.type != "cpu", FP16)
        machine.use_cores(device)
        network = from_pretrained(options.weights, revision=options.revision, verify=options.verify)
        problems = predict(options, network.to(device), found)
    done = len(found) - len(problems)
    sys.stdout.write(f"{options.to} holds overlays and labels of {done} images, and classes.txt\n")
    for file in left_out(options.images):
        sys.stdout.write(f"left out, no image by its name: {file}\n")
    for problem in problems:
        sys.stdout.write(f"left out: {problem}\n")
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
