"""A folder is published only if somebody without this code gets from it what we get."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import UInt8
from torch import Tensor

from core.errors import require
from core.networks.network import Network
from core.recipe import Protocol

PACKAGE = "transformers"
SIZE = (65, 97)
"""Height and width of the picture that both look at."""


def refuse_without_transformers() -> None:
    """Refuse to publish where what is published can't be checked.

    Raises:
        ValueError: saying what to install.
    """
    require(
        importlib.util.find_spec(PACKAGE) is not None,
        "a published folder opens with transformers too, which is checked before it is uploaded and is not here: "
        f"pip install {PACKAGE}",
    )


def compare(networks: Mapping[Path, Network]) -> None:
    """Open each folder in a process that can't import our packages, and compare with our network, bit for bit.

    Compared are the normalised picture, the scores, and the labels of the picture as a whole.

    Raises:
        ValueError: if a folder can't be opened there, or something differs.
    """
    pictures = [_noise(len(network.normalisation.mean)) for network in networks.values()]
    with tempfile.TemporaryDirectory() as place:
        named = {str(number): picture for number, picture in enumerate(pictures)}
        safetensors.torch.save_file(named, Path(place, "pictures.safetensors"))
        words = [sys.executable, "-I", str(Path(__file__).with_name("stranger.py")), place, *map(str, networks)]
        environment = {**os.environ, "HF_MODULES_CACHE": place, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        require(
            done.returncode == 0,
            f"{', '.join(map(str, networks))}: transformers can't open what would be published "
            f"({(done.stderr.strip().splitlines() or ['no message'])[-1]})",
        )
        answers = safetensors.torch.load_file(Path(place, "answers.safetensors"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are in the same order then
    try:
        for number, (folder, network) in enumerate(networks.items()):
            _compare(folder, network, pictures[number], {name: answers[f"{name}.{number}"] for name in NAMES})
    finally:
        torch.set_num_threads(threads)


NAMES = ("pixels", "scores", "labels")


def _noise(channels: int) -> UInt8[Tensor, "c h w"]:
    noise = np.random.default_rng(0).integers(0, 256, (channels, *SIZE), dtype=np.uint8)
    return torch.from_numpy(noise)


def _compare(folder: Path, network: Network, picture: UInt8[Tensor, "c h w"], answers: Mapping[str, Tensor]) -> None:
    pixels = network.normalisation(picture)[None]
    with torch.inference_mode():
        scores = network(pixels).scores
    labels = network.predict(picture, Protocol()).labels
    for name, ours in zip(NAMES, (pixels, scores, labels), strict=True):
        theirs = answers[name].to(ours.dtype)
        require(
            torch.equal(theirs, ours),
            f"{folder}: opened by transformers, its {name} are not ours: "
            f"{int((theirs != ours).sum())} of {ours.numel()} differ",
        )
