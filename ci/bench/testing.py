"""Testing an image through sliding windows: images a second.

    python -m ci.bench testing --device cuda --precision bf16

The image has 1024 x 2048 pixels, the network is the final DANet (ResNet-101, multi-grid, random weights), and the
protocol is its own: windows of 768 in steps of 512, and their mirror images. The target is 10 images a second in bf16
on an H200.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch

from ci.bench import attention
from ci.bench.harness import Line, growth, on_cuda, report, seconds
from ci.bench.step import DTYPES
from core import machine
from core.networks.attention import forced
from core.networks.inference import infer
from core.recipe import Precision
from papers import paper_of

RECIPE = "danet-r101-cityscapes"
TARGETS = {("bf16", "NVIDIA H200"): 10.0}
"""By precision and card, in images a second."""


def measured(device: str, precision: Precision, height: int, width: int, rounds: int) -> Iterator[Line]:
    """Measure the protocol by our attention and by the usual one, and the whole image at once."""
    row = paper_of(RECIPE).recipes[RECIPE]
    network = paper_of(RECIPE).build(row).to(device).eval()
    place = torch.device(device)
    if machine.channels_last("auto", place, precision, network):
        network = network.to(memory_format=torch.channels_last)
    image = torch.randn(3, height, width, device=device)
    dtype = DTYPES.get(precision)

    def test() -> None:
        with torch.autocast(place.type, dtype) if dtype else nullcontext():
            infer(network, image, row.protocol).argmax(dim=0)

    times = seconds({"ours": test, "usual": forced(attention.usual)(test)}, rounds, device)
    card = torch.cuda.get_device_name(device) if on_cuda(device) else "cpu"
    name = f"{RECIPE}, {height} x {width}, {precision}"
    yield Line(name, 1 / times["ours"], "images/s", None, TARGETS.get((precision, card)), higher=True)
    yield Line(f"{name}: the usual attention", 1 / times["usual"], "images/s")
    if on_cuda(device):
        yield Line(f"{name}: memory", growth(test, device) / 2**20, "MiB")


def main(
    device: str = "cpu",
    precision: Precision = "fp32",
    height: int = 1024,
    width: int = 2048,
    rounds: int = 5,
    to: Path | None = None,
) -> int:
    """Measure the testing of an image; return 1 if a target is missed.

    Args:
        device: "cpu" or a CUDA device.
        precision: of the products and convolutions.
        height: of the image in pixels; the target is for the default.
        width: likewise.
        rounds: timed rounds.
        to: a file for the figures, as JSON.
    """
    return report(list(measured(device, precision, height, width, rounds)), device, to)
