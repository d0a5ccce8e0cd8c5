"""Bundle a network with the repository, to be loaded by its name: python -m hub.ship RECIPE RUN_FOLDER [--data DIR]

For maintainers. Weights are rounded to half precision, and the rounded ones are tested by the recipe: that score stands
on the card. `hub.from_pretrained(RECIPE)` then loads it without a network connection.

Writes, below `core/networks/shipped`, the folder of the recipe's name: weights, configuration, fingerprint, score, card
(README.md), and the terms of the data set that it was trained on (LICENCE), under which the weights are passed on.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from safetensors.torch import save_file
from torch import Tensor

import papers
from core import datasets, files
from core.command import EvaluationOptions
from core.datasets.dataset import Licence
from core.errors import door, require
from core.networks import repository
from core.networks.network import Network
from core.recipe import Recipe
from core.testing.report import evaluate_checkpoint
from core.training.folder import SCORE
from core.values import to_json
from hub import card, publish
from hub.publication import STARTS_FROM, Changes, Publication

LARGEST_FILE = 2_000_000
"""Bytes of the weights of one network."""

LARGEST_TOGETHER = 8_000_000
"""Bytes of the weights of all of them."""

LICENCE = "LICENCE"


@dataclass(frozen=True)
class Options:
    """Which run becomes the network of its recipe."""

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="the recipe that was trained")]
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="its run folder")]
    data: Annotated[Path | None, tyro.conf.arg(help="folder of the data set")] = None


def halves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in half precision; counters stay whole.

    Raises:
        ValueError: if a number is too large for it.
    """
    rounded = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    broken = [name for name, value in rounded.items() if not bool(torch.isfinite(value).all())]
    require(not broken, f"half precision does not reach the numbers of {', '.join(broken)}; they exceed 65504")
    return rounded


def ship(options: Options) -> Path:
    """Round, test and write; return the folder.

    Raises:
        ValueError: if the run is of another recipe or changed it, its recipe began with the weights of others, or the
            weights are too large for a repository.
    """
    paper = papers.paper_of(options.recipe)
    recipe = paper.recipes[options.recipe]
    network = paper.network.from_pretrained(options.run)
    about = network.about
    trained = about.recipe.get("name") if about is not None else None
    if about is None or trained != recipe.name:
        raise ValueError(f"{options.run} was trained by the recipe {trained!r}, not {recipe.name!r}")
    about = replace(about, protocol=recipe.protocol, recipe=about.recipe | {"protocol": to_json(recipe.protocol)})
    network.about = about  # how it is tested has trained nothing, and is what the score below is measured by
    used, changed = publish.as_used(recipe, about)
    lines = "; ".join(f"{field}: {old} -> {new}" for field, (old, new) in changed.items())
    require(
        not changed or trained_on(recipe, changed),
        "a bundled network is what its recipe trains, or has trained and then trains on for another time at another "
        f"rate; this was changed: {lines}",
    )
    require(
        recipe.backbone_weights == "none" and recipe.starts_from is None,
        f"{recipe.name!r} begins with trained weights, whose terms would go with its own; ship what was trained from "
        "scratch",
    )

    folder = repository.SHIPPED / recipe.name
    aside = folder.with_name(f".{recipe.name}")
    shutil.rmtree(aside, ignore_errors=True)
    store(network, aside)
    refuse_too_large(aside / repository.WEIGHTS, recipe.name)
    evaluate_checkpoint(
        paper.network, EvaluationOptions(recipe, weights=str(aside), data=options.data, to=aside / SCORE)
    )
    run = files.read_json(options.run / SCORE) or {}
    training = {name: run[name] for name in ("seed", "processes", "training_seconds") if name in run}
    training |= {f"training_{name}": run[name] for name in ("hardware", "precision") if name in run}
    score = {**files.read_json(aside / SCORE), **training}
    files.write_json(aside / SCORE, {name: value for name, value in score.items() if name != "confusion"})
    publication = Publication(recipe.name, paper, used, network, about, changed, ((used, score),))
    (aside / publish.CARD).write_text(card.text(publication), encoding="utf-8")
    (aside / LICENCE).write_text(terms(datasets.find(recipe.data.name).licence), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return folder


def trained_on(recipe: Recipe[Any], changed: Changes) -> bool:
    """Return True if nothing was changed but that the recipe trained on what it had trained, for a time of its own."""
    own = {"optimisation.length", "optimisation.learning_rate", STARTS_FROM}
    return changed.keys() <= own and changed.get(STARTS_FROM, (None, None))[1] == recipe.name


def store(network: Network, folder: Path, rounded: Callable[[dict[str, Tensor]], dict[str, Tensor]] = halves) -> None:
    """Write the checkpoint of a network with rounded weights, and the fingerprint of what they then compute.

    The weights of the network itself are rounded too.

    Raises:
        ValueError: if a weight is too large for half precision.
    """
    kept = rounded(network.state_dict())
    network.load_state_dict(kept)
    network.save_pretrained(folder)
    save_file(kept, folder / repository.WEIGHTS, metadata={"format": "pt"})


def refuse_too_large(weights: Path, name: str) -> None:
    """Refuse a file of weights that would make the repository too large, or all its networks together.

    Raises:
        ValueError: naming both sizes.
    """
    size = weights.stat().st_size
    others = [repository.SHIPPED / other / repository.WEIGHTS for other in repository.shipped() if other != name]
    total = size + sum(file.stat().st_size for file in others)
    require(
        size <= LARGEST_FILE and total <= LARGEST_TOGETHER,
        f"the weights of {name!r} have {size:,} bytes, with those of the networks that are there {total:,}; at most "
        f"{LARGEST_FILE:,} and {LARGEST_TOGETHER:,} may lie in the repository: ship a smaller network",
    )


def terms(licence: Licence) -> str:
    """The terms of weights that were trained on one data set and on nothing else."""
    link = f" See {licence.link}." if licence.link else ""
    return (
        f"The weights in this folder were trained from scratch on {licence.title} and on nothing else. They are passed "
        f"on under its terms alone:\n\n{licence.terms}{link}\n\nThe code that trained them is under Apache-2.0.\n"
    )


def main() -> None:
    """Ship what the command line says."""
    with door():
        folder = ship(tyro.cli(Options, description=__doc__))
    sys.stdout.write(f"{folder} holds the network\n")


if __name__ == "__main__":
    main()
