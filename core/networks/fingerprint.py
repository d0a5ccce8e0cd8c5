"""The fingerprint of a network: an input that anyone can draw again, and some of the scores it gives.

It tells whether a checkpoint, here and now, computes what it computed where it was saved: other weights, another
version of a library or another normalisation would show.
"""

import copy
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.errors import require
from core.images.pixels import Normalisation

SEED, HEIGHT, WIDTH = 0, 65, 97
POINTS = ((0, 0), (32, 48), (20, 90), (64, 96))
TOLERANCE = 1e-3
"""Of the largest score: other machines and releases sum in another order."""

MOST_BYTES = 1 << 20
"""A file of a fingerprint is at most this long, in bytes."""


@torch.inference_mode()
def take(network: nn.Module, normalisation: Normalisation) -> dict[str, Any]:
    """Compute the fingerprint of a network, on the CPU, in float32 and evaluation mode; the network is left alone.

    The input is 65 x 97 random bytes for each channel, by numpy's `RandomState`, whose numbers never change. Stored are
    the scores of all classes at four pixels (y, x), before any softmax.
    """
    channels = len(normalisation.mean)
    bytes_ = np.random.RandomState(SEED).randint(0, 256, (channels, HEIGHT, WIDTH), dtype=np.uint8)
    image = normalisation(torch.from_numpy(bytes_))
    scores = copy.deepcopy(network).cpu().float().eval()(image[None]).scores[0]
    return {
        "input": {"seed": SEED, "size": [HEIGHT, WIDTH], "crc32": zlib.crc32(bytes_.tobytes())},
        "points": [list(point) for point in POINTS],
        "scores": [scores[:, y, x].tolist() for y, x in POINTS],
    }


def verify(network: nn.Module, normalisation: Normalisation, path: Path, where: str) -> None:
    """Compare a network with the fingerprint that was stored beside its weights, in the file `path`.

    Raises:
        ValueError: if the file is damaged, or they differ by more than `TOLERANCE` of the largest score.
    """
    now = take(network, normalisation)
    try:
        require(path.stat().st_size <= MOST_BYTES, f"it has more than {MOST_BYTES} bytes")
        stored = json.loads(path.read_text(encoding="utf-8"))
        given, found = np.array(stored["scores"], dtype=np.float64), np.array(now["scores"])
        require(bool(np.isfinite(given).all()), "its scores are not finite")
        same = all(stored[name] == now[name] for name in ("input", "points")) and given.shape == found.shape
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is no fingerprint, it is damaged or cut off ({error}); fetch it again") from error
    largest = float(np.abs(given).max()) if same else math.nan
    difference = float(np.abs(given - found).max()) if same else math.nan
    if not difference <= TOLERANCE * largest:  # also if one of them is not a number
        raise ValueError(
            f"{where} does not compute what its fingerprint says: scores differ by {difference:.2g}, the largest is "
            f"{largest:.2g}; the weights were changed after they were saved, or this installation computes otherwise"
        )
