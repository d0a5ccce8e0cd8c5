"""A few predictions beside their labels, to look at."""

from typing import Any

from accelerate import Accelerator
from PIL import Image

from core.datasets.samples import Pairs
from core.datasets.transforms import TestSamples
from core.images import pictures, sheets
from core.images.classes import IGNORE
from core.networks.inference import infer
from core.networks.network import Network
from core.recipe import Protocol
from core.testing.evaluation import evaluating

ROWS = 4


def gallery(network: Network, pairs: Pairs, protocol: Protocol, accelerator: Accelerator) -> Image.Image:
    """Image, labels, prediction and errors of a few images of a split, with the colours of its classes."""
    samples = TestSamples(pairs, network.normalisation)
    rows: list[list[Any]] = []
    ignored = False
    with evaluating(network):
        for index in range(0, len(pairs), max(1, len(pairs) // ROWS))[:ROWS]:
            image, labels = samples[index]
            ignored |= bool((labels == IGNORE).any())
            with accelerator.autocast():
                prediction = infer(network, image.to(accelerator.device), protocol).argmax(0).cpu()
            colours = [pictures.colourise(part, pairs.classes) for part in (labels, prediction)]
            shown = samples.picture(index)
            rows.append([shown, *colours, pictures.errors(shown, labels, prediction)])
    return sheets.contact_sheet(rows, ["image", "labels", "prediction", "errors (red)"], pairs.classes, ignored)
