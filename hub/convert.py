"""Public weights into ours, strictly: every name is accounted for, or nothing is written.

    python -m hub.convert danet-mmseg danet_r50-d8_512x1024_40k_cityscapes_20200605_191324-c0dbfa5f.pth --to DIR
    python -m hub.convert danet-released DANet101.pth.tar --to DIR        the weights of DANet's authors
    python -m hub.convert torchvision resnet101-5d3b4d8f.pth --to DIR     a backbone, for --backbone-weights
    python -m hub.convert csail-backbone resnet18-imagenet.pth --to DIR   another, with the deep stem 64-64-128

A network becomes a checkpoint folder, for from_pretrained and evaluate.py; it is described by a recipe (`--recipe`),
which says what the weights can't: dilations, how scores are enlarged, the classes, and how it is tested. Files of
mmsegmentation are known by their names. A backbone becomes `model.safetensors` without its classifier.

Files are read as tensors only: a pickle that holds anything else is refused, and nothing in it is executed.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import safetensors.torch
import torch
import tyro
from torch import Tensor

import papers
from core import datasets, errors, files, provenance
from core.errors import door, require, unknown
from core.images.classes import Classes
from core.networks import imagenet, weights
from core.networks.backbones import Backbone, build
from core.networks.known import NETWORKS
from core.networks.network import About
from core.recipe import Recipe
from core.values import differences, to_json
from hub.networks import ORIGIN
from hub.renaming import Renamed, convert

NETWORK_SOURCES = {source: (paper, layout) for paper in papers.every() for source, layout in paper.public.items()}
"""Whose weights are known: the paper and the names, by what the command line calls them."""

BackboneSource = Literal["torchvision", "timm", "csail-backbone"]
BACKBONE_SOURCES: tuple[BackboneSource, ...] = get_args(BackboneSource)


@dataclass(frozen=True)
class Options:
    """Convert public weights into ours."""

    source: tyro.conf.Positional[
        Annotated[
            str,
            tyro.conf.arg(
                help=f"the network, and whose code wrote the file: {', '.join((*NETWORK_SOURCES, *BACKBONE_SOURCES))}"
            ),
        ]
    ]
    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help="a .pth, .pth.tar, .pt, .bin or .safetensors file")]
    to: Annotated[Path, tyro.conf.arg(help="the folder to write; it must not exist yet, or be empty")]
    recipe: Annotated[
        str | None, tyro.conf.arg(help="the recipe that says what the weights can't; None: by the file's name")
    ] = None
    auxiliary: Annotated[
        Literal["drop", "keep"], tyro.conf.arg(help="the classifier on C3 of mmsegmentation's files, for training on")
    ] = "drop"


def convert_network(options: Options, source: str, theirs: Mapping[str, Tensor], digest: str) -> str:
    """Convert a network and write it as a checkpoint folder; return what to say about it.

    Raises:
        ValueError: if the file has another layout, or is of another network than the recipe's.
    """
    paper, layout = NETWORK_SOURCES[source]
    _refuse_another_layout(options.file, source, theirs)
    published = _recipe(options, source)
    recipe = published
    if options.auxiliary == "keep":
        if not layout.auxiliary:
            raise ValueError(f"files of {source} have no auxiliary classifier; leave out --auxiliary keep")
        recipe = replace(published, architecture=replace(published.architecture, deep_supervision=True))
    with torch.device("meta"):
        network = paper.build(recipe).eval()
    report = convert(theirs, layout, network, options.auxiliary == "keep", f"{options.file} for {recipe.name!r}")

    origin = f"converted from {options.file.name} ({source}, sha256 {digest})"
    changed = {**differences(published, recipe), ORIGIN: ("trained by this recipe", origin)}
    network.about = About(_classes(recipe), recipe.protocol, to_json(recipe), to_json(changed), provenance.commit())
    with _written_folder(options.to) as folder:
        network.save_pretrained(folder)
    return (
        f"{report}\nwrote {options.to}; test it with\n"
        f"accelerate launch papers/{paper.folder}/evaluate.py {recipe.name} --weights {options.to} --data DIR"
    )


def _classes(recipe: Recipe[Any]) -> Classes:
    """What the scores of a recipe's data mean."""
    classes = datasets.find(recipe.data.name).classes
    if classes is None:
        raise ValueError(
            f"the data of {recipe.name!r}, {recipe.data.name!r}, has classes of its own; convert for another"
        )
    return classes


def convert_backbone(options: Options, source: BackboneSource, theirs: Mapping[str, Tensor], digest: str) -> str:
    """Write a backbone without its classifier, for `--backbone-weights`; return what to say about it.

    Raises:
        ValueError: if it is none of those that we have; the differences to the nearest one are listed.
    """
    if options.recipe is not None or options.auxiliary != "drop":
        raise ValueError("a backbone has neither a recipe nor an auxiliary classifier; leave those options out")
    if source == "csail-backbone":
        require(
            imagenet.from_csail(theirs),
            f"{options.file} has not the names of CSAIL's ImageNet weights, conv1 to conv3, bn1 to bn3 and fc, but "
            f"{errors.listed(theirs, 3)}",
        )
        theirs = imagenet.renamed(theirs)
    backbone = _backbone(options.file, source, theirs)
    classifier = NETWORKS[backbone.name].classifier
    kept = {key: tensor.contiguous() for key, tensor in theirs.items() if not key.startswith(classifier)}
    dropped = tuple(key for key in theirs if key.startswith(classifier))
    origin = {"backbone": backbone.name, "stem": backbone.stem, "file": options.file.name, "sha256": digest}
    with _written_folder(options.to) as folder:
        told = {"format": "pt", imagenet.SOURCE: source.removesuffix("-backbone"), imagenet.DIGEST: digest}
        safetensors.torch.save_file(kept, folder / "model.safetensors", metadata=told)
        files.write_json(folder / "config.json", origin)
    return (
        f"{Renamed({key: key for key in kept}, dropped, (), ())}\nwrote {options.to}: {backbone.name} with the "
        f"{backbone.stem} stem, for --backbone-weights {options.to / 'model.safetensors'}"
    )


def _backbone(file: Path, source: BackboneSource, theirs: Mapping[str, Tensor]) -> Backbone:
    """The backbone that these weights are of, known by their names and shapes.

    Raises:
        ValueError: if there is none; what differs from the nearest is listed.
    """
    misfits: list[tuple[int, int, ValueError]] = []
    for name, row in NETWORKS.items():
        stems: dict[BackboneSource, tuple[str, ...]] = {
            "timm": row.stems,
            "torchvision": ("plain",) if name.startswith("resnet") else (),
            "csail-backbone": ("deep64",) if name in imagenet.CSAIL else (),
        }
        for stem in stems[source]:
            backbone = Backbone(name, cast(Any, stem), row.output_strides[-1])
            with torch.device("meta"):
                body = build(backbone).body.state_dict()
            expected = {key: shape for key, shape in weights.shapes(body).items() if not key.endswith(weights.COUNTER)}
            given = {
                key: shape
                for key, shape in weights.shapes(theirs).items()
                if not key.endswith(weights.COUNTER) and not key.startswith(row.classifier)
            }
            shared, other = len(expected.items() & given.items()), len(expected.items() ^ given.items())
            nearest = f"{name} with the {stem} stem, with which it shares {shared} of its {len(given)} weights"
            try:
                weights.refuse_misfits(f"{file} is none of our backbones; nearest is {nearest}", expected, given)
            except ValueError as error:
                misfits.append((-shared, other, error))
            else:
                return backbone
    raise min(misfits, key=lambda misfit: misfit[:2])[2]


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, each with finite numbers of its own."""
    tensors = weights.read_weights(file)
    weights.refuse_shared(str(file), tensors)
    weights.refuse_unsound(str(file), tensors)
    return tensors


def _recipe(options: Options, source: str) -> Recipe[Any]:
    """The recipe that was asked for, else that of the public file of this name, else the layout's own."""
    paper, layout = NETWORK_SOURCES[source]
    if options.recipe is not None:
        if options.recipe not in paper.recipes:
            raise ValueError(f"there is no recipe {options.recipe!r} for {source}, only {', '.join(paper.recipes)}")
        return paper.recipes[options.recipe]
    public = {row.row: recipe for recipe in paper.recipes.values() for row in recipe.reported}
    for name, recipe in public.items():
        if options.file.name.startswith(f"{name}_"):
            return recipe
    if layout.recipe is None:
        names = [recipe.name for recipe in public.values() if recipe.reported[0].paper == "mmsegmentation"]
        raise ValueError(
            f"the name of {options.file.name} is none of the public files', so it can't tell how it was trained; pass "
            f"--recipe, one of {', '.join(names)}"
        )
    return paper.recipes[layout.recipe]


def _refuse_another_layout(file: Path, source: str, theirs: Mapping[str, Tensor]) -> None:
    """Refuse a file of which most names are strange, rather than list them all as missing and unexpected."""
    known = {
        name: sum(key.startswith((*layout.names, *layout.auxiliary, *layout.dropped)) for key in theirs)
        for name, (_, layout) in NETWORK_SOURCES.items()
    }
    nearest = max(known, key=known.__getitem__)
    if 2 * known[source] < len(theirs) or not theirs:
        hint = f"; it looks like {nearest}" if 2 * known[nearest] >= len(theirs) > 0 else ""
        raise ValueError(
            f"{file} is not in the layout {source}: of its {len(theirs)} names it knows {known[source]}; the first are "
            f"{errors.listed(theirs, 3)}{hint}"
        )


def _refuse_taken(to: Path) -> None:
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise ValueError(f"{to} exists already; remove it, or pass another --to")


@contextmanager
def _written_folder(to: Path) -> Iterator[Path]:
    """Give a folder beside `to` to write into, and rename it to `to` when the writing has ended well."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as aside:
        folder = Path(aside) / to.name
        folder.mkdir()
        yield folder
        folder.replace(to)


def run(options: Options) -> str:
    """Do what the options say; return what to say about it.

    Raises:
        ValueError: in a sentence, if the file can't be read or converted, or the folder is not free.
        FileNotFoundError: if there is no such file.
    """
    sources = (*NETWORK_SOURCES, *BACKBONE_SOURCES)
    if options.source not in sources:
        raise ValueError(unknown("source", options.source, sources))
    _refuse_taken(options.to)
    theirs = _read(options.file)
    digest = files.sha256(options.file)
    if options.source in NETWORK_SOURCES:
        return convert_network(options, options.source, theirs, digest)
    return convert_backbone(options, cast(BackboneSource, options.source), theirs, digest)


def main() -> None:
    """Do what the command line says."""
    with door():
        sys.stdout.write(run(tyro.cli(Options, description=__doc__)) + "\n")


if __name__ == "__main__":
    main()
