"""Where a checkpoint lies: in a folder, among the bundled networks, or in a repository on the Hub.

A checkpoint is `config.json` (what it is), `model.safetensors` (the weights) and `fingerprint.json` (an input and some
of its scores). Nothing else is ever read, and nothing is executed.
"""

import os.path
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from core.errors import listed
from core.run import Run

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FINGERPRINT = "fingerprint.json"

SHIPPED = Path(__file__).parent / "shipped"
"""The bundled networks, each a folder by its name; `hub.ship` makes them."""

PATIENCE = 3.0
"""Seconds that the Hub has to take a connection, before it counts as out of reach."""


def local(where: str | Path) -> Path | None:
    """The folder that needs no network access: `where` itself, or the bundled network of that name."""
    if os.path.isdir(where):  # False also of a name that is too long
        return Path(where)
    shipped = SHIPPED / where
    return shipped if shipped.parent == SHIPPED and os.path.isdir(shipped) else None


def shipped() -> tuple[str, ...]:
    """The names of the bundled networks."""
    return tuple(sorted(file.parent.name for file in SHIPPED.glob(f"[!.]*/{CONFIG}")))


def named(where: str | Path) -> str:
    """The name of a checkpoint as a text.

    Raises:
        ValueError: if it is empty, or no name.
    """
    if not isinstance(where, str | Path) or not str(where):
        raise ValueError(f"a checkpoint is a folder or org/name on the Hub, as a text or a Path, got {where!r}")
    return str(where)


def fetch(
    where: str,
    files: Sequence[str],
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Return a folder that holds the files, all of one commit: `where` itself, a bundled network of that name, or the
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
                instead = "give a folder that save_pretrained or a training run wrote"
                instead += ", or leave verify out" if file == FINGERPRINT else ""
                raise ValueError(f"{where} has no {file}; {instead}")
        return folder

    if revision is None and _looks_local(where):
        raise ValueError(_no_folder(where))
    for file in files:
        commit = revision if folder is None else folder.name  # a branch may move meanwhile
        try:
            path = download(where, file, commit, token, cache_dir, local_files_only, force_download)
        except Exception as error:  # the Hub's transport has kinds of its own, which change between its releases
            raise _explained(error, where, file, revision) from error
        folder = path.parent
    if folder is None:
        raise ValueError("fetch needs the name of at least one file")
    return folder


def download(
    where: str,
    file: str,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Return the copy of a repository's file in the Hub's cache; what is not there fails at once without a network.

    Raises:
        Exception: of kinds that huggingface_hub has.
    """
    cached = isinstance(try_to_load_from_cache(where, file, cache_dir, revision), str)
    return Path(
        hf_hub_download(
            where,
            file,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only or not (cached or reachable()),
            force_download=force_download,
        )
    )


def reachable() -> bool:
    """Return True if the Hub takes a connection, or is asked through a proxy, which alone knows.

    Its client tries again for half a minute where a computer has no network.
    """
    hub = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        return False
    if hub.hostname is None or urllib.request.getproxies():
        return True
    try:
        socket.create_connection((hub.hostname, hub.port or (80 if hub.scheme == "http" else 443)), PATIENCE).close()
    except OSError:
        return False
    return True


def _looks_local(where: str) -> bool:
    """Return True if a path is meant, and no org/name: by how it is written, or as its first folder is here."""
    first, *rest = Path(where).parts or ("",)
    written = where.startswith((".", "~", "/")) or where.endswith("/") or "\\" in where or Path(where).is_absolute()
    return written or not rest or first == str(Run.to) or os.path.isdir(first)


def _no_folder(where: str) -> str:
    """Say that there is no such folder, and which checkpoints lie beside where it would be."""
    path = Path(where)
    places = [path.parent] if len(path.parts) > 1 else [path.parent, Run.to]
    beside = [str(file.parent) for place in places for file in sorted(place.glob(f"[!.]*/{CONFIG}"))]
    found = f"beside it are {listed(beside)}" if beside else "no checkpoint lies beside it"
    if len(path.parts) == 1 and (bundled := shipped()):
        found += f"; bundled networks are {listed(bundled)}"
    if where.startswith("~"):
        return f"there is no folder {where}; give the whole path instead of ~"
    if path.parts[0] != path.anchor and len(path.parts) == 2:
        found += "; if a repository on the Hub is meant, pass its revision too, such as 'main'"
    return f"there is no folder {where}; {found}"


def _explained(error: Exception, where: str, file: str, revision: str | None) -> Exception:
    """One clear sentence for what went wrong while a file of a repository was fetched."""
    hub = constants.ENDPOINT
    if isinstance(error, HFValidationError):
        return ValueError(
            f"{where} is neither a folder nor the name of a repository, such as org/name; a revision is a word of its "
            "own, and no address stands before the name"
        )
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
