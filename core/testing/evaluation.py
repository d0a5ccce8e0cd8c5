"""A protocol over a data set, over all processes: every image exactly once, one score.

Each process takes every n-th image at its own size, and counts pixels in int64; the counts are added once at the end. A
prepared data loader would repeat images until all processes have equally many. Beside a GPU the CPU decodes the next
images and counts the last one while the network works on this one; nothing else waits for the device.
"""

import itertools
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from core.datasets.loading import loading
from core.networks.inference import infer
from core.progress import progress
from core.recipe import Protocol
from core.testing.metrics import confusion


@typing.runtime_checkable
class Samples(typing.Protocol):
    """A map-style data set: pairs of an image (3 h w, normalised) and its labels (h w, 255 ignored), of any sizes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]: ...


def count(
    network: nn.Module,
    samples: Samples,
    protocol: Protocol,
    num_classes: int,
    accelerator: Accelerator,
    workers: int = 0,
    title: str = "test",
    keep: Callable[[int, Tensor], None] | None = None,
) -> Int64[Tensor, "k k"]:
    """Test the network on every sample; return the counts of `core.testing.metrics.confusion`, equal on all processes.

    All processes must call this together. `network` is on `accelerator.device`, prepared or not; it is put into
    evaluation mode, and each of its modules back into its own mode at the end, also after an error. No global random
    number is drawn, so training goes on as if nothing had happened. `workers` processes load images ahead; `title`
    names the progress, which the main process shows of its own share. `keep` is given the number of
    each sample of this process and its prediction, h w, on the CPU.

    Raises:
        ValueError: if there are no samples, or a sample has labels of another size or out of range.
    """
    number = len(samples)
    if not number:
        raise ValueError(f"the data set for {title!r} has no images; check its folder and the name of its split")
    mine = range(accelerator.process_index, number, accelerator.num_processes)
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        Subset(typing.cast("Dataset[tuple[Tensor, Tensor]]", samples), mine),
        batch_size=None,
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
        generator=torch.Generator(),  # its own: the loader would draw a seed from the global one
    )
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    # Without its DistributedDataParallel, a network does not wait for processes that have fewer images.
    bare = accelerator.unwrap_model(network)
    with evaluating(bare), loading(loader) as loaded:
        answers = _one_behind(_predictions(bare, protocol, accelerator, zip(mine, loaded, strict=True)))
        quiet = not accelerator.is_main_process
        for index, labels, prediction in progress(answers, title, len(mine), "image", quiet):
            if keep is not None:
                keep(index, prediction)
            try:
                counts += confusion(labels, prediction, num_classes)
            except ValueError as error:
                raise ValueError(f"sample {index} of the data set for {title!r}: {error}") from error
    return accelerator.reduce(counts.to(accelerator.device), "sum").cpu()


Answer = tuple[int, Tensor, Tensor, torch.cuda.Event | None]
"""The number of a sample, its labels, its prediction on its way to the CPU, and when it will be there; None: it is."""


def _predictions(
    network: nn.Module,
    protocol: Protocol,
    accelerator: Accelerator,
    samples: Iterable[tuple[int, tuple[Tensor, Tensor]]],
) -> Iterator[Answer]:
    for index, (image, labels) in samples:
        with accelerator.autocast():
            image = image.to(accelerator.device, non_blocking=True)
            best = infer(network, image, protocol).argmax(dim=0).to(torch.uint8)
        at_once = accelerator.device.type == "cuda"
        prediction = best.to("cpu", non_blocking=at_once)
        there = torch.cuda.Event() if at_once else None
        if there is not None:
            there.record()
        yield index, labels, prediction, there


def _one_behind(answers: Iterator[Answer]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Give each answer when the device has been told to make the next one."""
    waiting: Answer | None = None
    for answer in itertools.chain(answers, [None]):
        if waiting is not None:
            index, labels, prediction, there = waiting
            if there is not None:
                there.synchronize()
            yield index, labels, prediction
        waiting = answer


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while; modules that were frozen before are frozen after."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
