"""The papers as the Hub sees them: the class that `config.json` names, and the recipes that train it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.networks import repository
from core.networks.network import Network
from core.recipe import Recipe
from papers.danet.model import DANet
from papers.danet.recipes import RECIPES as DANET_RECIPES
from papers.dfdam.model import DFDAM
from papers.dfdam.recipes import RECIPES as DFDAM_RECIPES
from papers.pdanet.model import PDANet
from papers.pdanet.recipes import RECIPES as PDANET_RECIPES
from papers.ranet.model import RANet
from papers.ranet.recipes import RECIPES as RANET_RECIPES
from papers.sanet.model import SANet
from papers.sanet.recipes import RECIPES as SANET_RECIPES


@dataclass(frozen=True)
class Paper:
    """A paper's folder below `papers`, its network and its recipes."""

    folder: str
    network: type[Network]
    recipes: dict[str, Recipe[Any]]


ORIGIN = "weights"
"""What is recorded as changed in weights that this source tree did not train: where they come from."""

PAPERS: dict[str, Paper] = {
    "DANet": Paper("danet", DANet, DANET_RECIPES),
    "DFDAM": Paper("dfdam", DFDAM, DFDAM_RECIPES),
    "PDANet": Paper("pdanet", PDANet, PDANET_RECIPES),
    "RANet": Paper("ranet", RANet, RANET_RECIPES),
    "SANet": Paper("sanet", SANet, SANET_RECIPES),
}
"""By the name of the class, as it stands in `config.json`."""


def from_pretrained(
    folder_or_repository: str | Path,
    *,
    revision: str | None = None,
    verify: bool = False,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    num_classes: int | None = None,
    map_location: str = "cpu",
) -> Network:
    """Load any of the networks from a folder or from the Hub; `config.json` says which it is.

    The arguments are those of `core.networks.network.Network.from_pretrained`.

    Raises:
        ValueError: in a sentence, if there is no such checkpoint, or it can't be loaded strictly.
        OSError: if the Hub can't be reached and its cache does not hold the files.
    """
    where = str(folder_or_repository)
    folder = repository.fetch(where, [repository.CONFIG], revision, token, cache_dir, local_files_only)
    (name,) = repository.read_config(folder)["architectures"]
    if name not in PAPERS:
        raise ValueError(f"{where} holds a network of the class {name!r}; there are {', '.join(PAPERS)}")
    return PAPERS[name].network.from_pretrained(
        where,
        revision=None if Path(where).is_dir() else folder.name,  # of one commit: a branch may move meanwhile
        verify=verify,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        num_classes=num_classes,
        map_location=map_location,
    )


def paper_of(recipe: str) -> Paper:
    """The paper that has a recipe.

    Raises:
        ValueError: if none has.
    """
    for paper in PAPERS.values():
        if recipe in paper.recipes:
            return paper
    raise ValueError(f"no paper has a recipe {recipe!r}; --help of a paper's train.py lists its recipes")
