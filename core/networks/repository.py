"""Where a checkpoint lies: in a folder, among the networks that come with this package, or in a repository on the Hub.

A checkpoint is `config.json` (what it is), `model.safetensors` (the weights) and `fingerprint.json` (an input and some
of its scores). Nothing else is ever read, and nothing is executed.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FINGERPRINT = "fingerprint.json"

SHIPPED = Path(__file__).parent / "shipped"
"""The networks that come with the repository, each a folder by its name; `hub.ship` makes them."""

LARGEST = 8192
"""No number in a configuration is larger: not a width, a dilation, a window, nor the side of an image."""

LARGEST_SCALE = 8.0
"""An image is never enlarged more than this by the protocol of a checkpoint."""

LARGEST_CONFIG = 1 << 20
"""A configuration is at most this long, in bytes."""


def local(where: str | Path) -> Path | None:
    """The folder that is meant, if nobody must be asked: `where` itself, or the shipped network of that name."""
    if Path(where).is_dir():
        return Path(where)
    shipped = SHIPPED / where
    return shipped if shipped.parent == SHIPPED and shipped.is_dir() else None


def fetch(
    where: str,
    files: Sequence[str],
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Return a folder that holds the files, all of one commit: `where` itself, a shipped network of that name, or the
    copy of a repository in the Hub's cache.

    Raises:
        ValueError: in a sentence, if there is no such folder, repository, revision or file.
        OSError: if the Hub can't be reached and its cache does not hold the file.
    """
    folder = local(where)
    if folder is not None:
        if revision is not None:
            raise ValueError(f"{where} is a folder and has no revisions, got revision {revision!r}; leave it out")
        for file in files:
            if not (folder / file).is_file():
                raise ValueError(f"{where} has no {file}; give a folder that save_pretrained or a training run wrote")
        return folder

    for file in files:
        try:
            path = hf_hub_download(
                where,
                file,
                revision=revision if folder is None else folder.name,  # the commit: a branch may move meanwhile
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
            )
        except Exception as error:  # the Hub's transport has kinds of its own, which change between its releases
            raise _explained(error, where, file, revision) from error
        folder = Path(path).parent
    if folder is None:
        raise ValueError("fetch needs the name of at least one file")
    return folder


def _explained(error: Exception, where: str, file: str, revision: str | None) -> Exception:
    """One clear sentence for what went wrong while a file of a repository was fetched."""
    hub = constants.ENDPOINT
    if isinstance(error, HFValidationError):
        return ValueError(f"{where} is neither a folder nor the name of a repository, such as org/name")
    if isinstance(error, GatedRepoError):
        return ValueError(f"{where} asks for consent first: give it on {hub}/{where}, then log in with `hf auth login`")
    if isinstance(error, RepositoryNotFoundError):
        return ValueError(
            f"there is no folder {where}, and on {hub} no repository of that name, or it is private and opens to no "
            "token of yours; check the name, or log in with `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return ValueError(f"{where} on {hub} has no revision {revision!r}; give a branch, a tag or a commit of it")
    if isinstance(error, RemoteEntryNotFoundError):
        return ValueError(
            f"{where} on {hub} has no {file} at {revision or 'main'}; a checkpoint has {CONFIG} and {WEIGHTS}, as "
            "save_pretrained and hub.publish write them"
        )
    if isinstance(error, LocalEntryNotFoundError):
        return OSError(
            f"there is no folder {where}, the Hub's cache holds no {file} of it at {revision or 'main'}, and {hub} "
            f"can't be asked (out of reach, HF_HUB_OFFLINE or local_files_only); run `hf download {where}` where it can"
        )
    return OSError(f"can't get {file} of {where} from {hub}: {type(error).__name__}: {' '.join(str(error).split())}")


def read_config(folder: Path) -> dict[str, Any]:
    """Read a configuration and refuse what could not be meant; nothing of its size is allocated.

    Raises:
        ValueError: if the file is damaged, names no network, or asks for absurd sizes.
    """
    path = folder / CONFIG
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"it has more than {LARGEST_CONFIG} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
        names = config["architectures"]
        if not (isinstance(names, list) and len(names) == 1 and isinstance(names[0], str)):
            raise ValueError(f"it must name one network in 'architectures', got {names!r}")
        if type(config["num_classes"]) is not int or not isinstance(config["architecture"], dict):
            raise ValueError("num_classes must be a whole number and architecture a table")
        if not isinstance(config["normalisation"], dict):
            raise ValueError("normalisation must be a table")
        protocol = (config.get("about") or {}).get("protocol") or {}
        _refuse_absurd({name: config[name] for name in ("num_classes", "architecture")} | {"protocol": protocol})
        if any(scale > LARGEST_SCALE for scale in protocol.get("scales", ())):
            raise ValueError(f"protocol.scales must be at most {LARGEST_SCALE}, got {protocol['scales']}")
    except KeyError as error:
        raise ValueError(f"{path} is no configuration of a network: it has no {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no configuration of a network: {error}") from error
    return config


def _refuse_absurd(value: Any, name: str = "") -> None:
    """Refuse numbers and lists so large that a network or a prediction with them would exhaust the memory."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_absurd(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        if len(value) > 255:
            raise ValueError(f"{name} must have at most 255 entries, got {len(value)}")
        for item in value:
            _refuse_absurd(item, name)
    elif isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= LARGEST):
        raise ValueError(f"{name} must be at most {LARGEST}, got {value}")
