"""Segment pictures: python -m hub.predict WEIGHTS IMAGE... --to DIR

WEIGHTS is a run folder or the org/name of a repository on the Hugging Face Hub. An IMAGE is a file, or a folder, which
is searched for images; the frames of a video are a folder. For each picture DIR gets `overlays/NAME.png` to look at and
`labels/NAME.png` to compute with (8-bit class indices in the colours of the classes, which `classes.txt` names). What
was found in a folder keeps its place below the folder's name.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from PIL import Image
from tqdm import tqdm

from core import machine
from core.errors import door
from core.networks.network import Network, Prediction
from core.recipe import Protocol
from hub.networks import from_pretrained

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Options:
    """What to segment, and how."""

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="run folder or org/name of a Hub repository")]
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(help="image files and folders of images")]
    to: Annotated[Path, tyro.conf.arg(help="where the overlays and labels go")]
    revision: Annotated[str | None, tyro.conf.arg(help="branch, tag or commit on the Hub")] = None
    protocol: Annotated[
        Literal["own", "whole"],
        tyro.conf.arg(help="as the checkpoint's recipe tests, or cheaper: the whole image once"),
    ] = "own"
    opacity: Annotated[float, tyro.conf.arg(help="of the colours, from 0 to 1")] = 0.5
    device: Annotated[str | None, tyro.conf.arg(help="cpu, cuda, cuda:1, mps; None: a GPU if there is one")] = None
    verify: Annotated[bool, tyro.conf.arg(help="compare the weights with their fingerprint first")] = False

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"--opacity must be from 0 (the image only) to 1 (the colours only), got {self.opacity}")


def find(images: tuple[Path, ...], to: Path) -> dict[Path, Path]:
    """Which file becomes which picture below `to`, in natural order: frame_2 before frame_10.

    Raises:
        ValueError: if there is no such file or folder, a folder has no images, two would become one, or the results
            would lie among the images.
        OSError: if a file can't be read as an image.
    """
    found: dict[Path, Path] = {}
    for given in images:
        if given.is_dir():
            if to.resolve().is_relative_to(given.resolve()):
                raise ValueError(f"--to {to} lies in {given}, whose images are the input; choose a folder beside it")
            files = sorted((file for file in given.rglob("*") if file.suffix.lower() in ENDINGS), key=_natural)
            names = [Path(given.resolve().name) / file.relative_to(given) for file in files]
        else:
            files, names = [given] if given.is_file() else [], [Path(given.name)]
        if not files:
            raise ValueError(f"there is no image {given}; give files, or folders that hold {', '.join(ENDINGS)}")
        for file, name in zip(files, names, strict=True):
            with Image.open(file):
                pass  # only its header is read
            name = name.with_suffix(".png")
            if name in found:
                raise ValueError(f"{found[name]} and {file} would both become {name}; rename one")
            found[name] = file
    return {file: name for name, file in found.items()}


def _natural(file: Path) -> list[tuple[int, str]]:
    """Sort numbers in names by their value."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def predict(options: Options, network: Network, found: dict[Path, Path]) -> None:
    """Segment the files one after another, and write what becomes of each."""
    protocol = Protocol() if options.protocol == "whole" else None
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "classes.txt").write_text("\n".join(network.classes.names) + "\n", encoding="utf-8")
    for file, name in tqdm(found.items(), unit="image"):
        prediction = network.predict(file, protocol)
        for folder, picture in (
            ("overlays", prediction.overlay(options.opacity)),
            ("labels", _palette_image(prediction)),
        ):
            path = options.to / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


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
        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        machine.use_cores(torch.device(device))
        network = from_pretrained(options.weights, revision=options.revision, verify=options.verify)
        predict(options, network.to(device), found)
    sys.stdout.write(f"{options.to} holds overlays and labels of {len(found)} images, and classes.txt\n")


if __name__ == "__main__":
    main()
