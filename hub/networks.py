"""Loading a checkpoint of any of the papers; the class that `config.json` names says of which."""

from pathlib import Path

import torch

import papers
from core.networks import configuration, repository
from core.networks.network import Network
from core.networks.words import refuse_foreign

ORIGIN = "weights"
"""What is recorded as changed in weights that this source tree did not train: where they come from."""

shipped = repository.shipped


def from_pretrained(
    folder_or_repository: str | Path,
    *,
    revision: str | None = None,
    verify: bool = False,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    num_classes: int | None = None,
    map_location: str | torch.device = "cpu",
    **foreign: object,
) -> Network:
    """Load any of the networks from a folder, by the name of a bundled one, or from the Hub.

    `config.json` says which it is. `hub.shipped()` names the bundled ones, which need no network.

    The arguments are those of `core.networks.network.Network.from_pretrained`.

    Raises:
        ValueError: in a sentence, if there is no such checkpoint, or it can't be loaded strictly.
        OSError: if the Hub can't be reached and its cache does not hold the files.
    """
    refuse_foreign(foreign, from_pretrained)
    where = repository.named(folder_or_repository)
    folder = repository.fetch(where, [repository.CONFIG], revision, token, cache_dir, local_files_only, force_download)
    (name,) = configuration.read(folder)["architectures"]
    kinds = {paper.network.__name__: paper.network for paper in papers.every()}
    if name not in kinds:
        raise ValueError(f"{where} holds a network of the class {name!r}; there are {', '.join(kinds)}")
    return kinds[name].from_pretrained(
        where,
        revision=None
        if repository.local(where) is not None
        else folder.name,  # of one commit: a branch may move meanwhile
        verify=verify,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        force_download=force_download,
        num_classes=num_classes,
        map_location=map_location,
    )
