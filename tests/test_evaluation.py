"""A protocol over a data set: every pixel once, on any number of processes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import forked
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from core import files
from core.images.classes import IGNORE
from core.networks.inference import infer
from core.recipe import Protocol
from core.testing.evaluation import count
from core.testing.metrics import confusion

PROTOCOL = Protocol(crop=16, stride=12, scales=(0.75, 1.0), flip=True)


class Output(NamedTuple):
    scores: Tensor


class Network(nn.Module):
    """A small network with everything that differs between training and evaluation."""

    align_corners = False

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.normalisation = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.randn(4, 3, 3, 3, generator=generator))

    def forward(self, images: Tensor) -> Output:
        return Output(self.dropout(self.normalisation(self.convolution(images))))


class Samples:
    """Images of different sizes, each the same whenever it is asked for, with a tenth of the labels ignored."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.asked.append(index)
        generator = torch.Generator().manual_seed(index)
        size = (20 + 3 * index, 41 - 2 * index)
        labels = torch.randint(0, 4, size, generator=generator)
        labels[torch.rand(size, generator=generator) < 0.1] = IGNORE
        return torch.randn(3, *size, generator=generator), labels


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_counts_every_image_once(accelerator: Accelerator) -> None:
    network, samples = Network().eval(), Samples(10)
    found = count(network, samples, PROTOCOL, 4, accelerator)
    assert samples.asked == list(range(10))
    pairs = [samples[index] for index in range(10)]
    counts = [confusion(labels, infer(network, image, PROTOCOL).argmax(dim=0), 4) for image, labels in pairs]
    assert torch.equal(found, torch.stack(counts).sum(dim=0))
    assert int(found.sum()) == sum(int((labels != IGNORE).sum()) for _, labels in pairs)


def work(folder: str) -> None:
    """What each of several processes does: evaluate, and write what it found."""
    accelerator = Accelerator(cpu=True)
    network, samples = accelerator.prepare(Network()), Samples(10)
    counts = count(network, samples, PROTOCOL, 4, accelerator)
    found = {
        "counts": counts.tolist(),
        "asked": samples.asked,
        "training": network.training,
        "wrapped": type(network).__name__,
        "processes": accelerator.num_processes,
    }
    files.write_json(Path(folder) / f"{accelerator.num_processes}-{accelerator.process_index}.json", found)


@pytest.mark.slow
def test_one_two_and_three_processes_count_alike(accelerator: Accelerator, tmp_path: Path) -> None:
    expected = count(Network(), Samples(10), PROTOCOL, 4, accelerator).tolist()
    for processes in (2, 3):
        log = tmp_path / f"log{processes}"
        group = forked.fork_group(processes, work, str(tmp_path), log=log)
        assert [forked.wait(process) for process in group] == [0] * processes, log.read_text()
        found = [files.read_json(tmp_path / f"{processes}-{rank}.json") for rank in range(processes)]
        assert sorted(index for each in found for index in each["asked"]) == list(range(10))
        for each in found:
            assert each["processes"] == processes
            assert each["wrapped"] == "DistributedDataParallel"
            assert each["training"] is True
            assert each["counts"] == expected


def test_modes_and_random_numbers_are_left_as_they_were(accelerator: Accelerator) -> None:
    network = Network().train()
    network.normalisation.eval()  # frozen
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    count(network, Samples(2), Protocol(), 4, accelerator)
    assert network.training
    assert network.dropout.training
    assert not network.normalisation.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)

    count(network.eval(), Samples(2), Protocol(), 4, accelerator)
    assert not any(module.training for module in network.modules())


def test_workers_change_nothing(accelerator: Accelerator) -> None:
    alone = count(Network(), Samples(5), Protocol(), 4, accelerator)
    helped = count(Network(), Samples(5), Protocol(), 4, accelerator, workers=1)
    assert torch.equal(alone, helped)


class Interrupted(Samples):
    """A terminal and a batch system send a signal to all processes of a program, also to those that load images."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return super().__getitem__(index)


def test_processes_that_load_leave_signals_to_the_one_that_they_load_for(accelerator: Accelerator) -> None:
    alone = count(Network(), Samples(3), Protocol(), 4, accelerator)
    helped = count(Network(), Interrupted(3), Protocol(), 4, accelerator, workers=1)
    assert torch.equal(alone, helped)


def test_mixed_precision_reaches_the_network() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    kinds = []
    network = Network()
    network.convolution.register_forward_hook(lambda _, __, features: kinds.append(features.dtype))
    count(network, Samples(1), PROTOCOL, 4, Accelerator(cpu=True, mixed_precision="bf16"))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert set(kinds) == {torch.bfloat16}


def test_an_empty_data_set_is_refused(accelerator: Accelerator) -> None:
    with pytest.raises(ValueError, match="the data set for 'validation' has no images"):
        count(Network(), Samples(0), Protocol(), 4, accelerator, title="validation")


def test_a_wrong_label_is_named_with_its_sample_and_modes_are_restored(accelerator: Accelerator) -> None:
    class Wrong(Samples):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            image, labels = super().__getitem__(index)
            return image, torch.full_like(labels, 7) if index == 3 else labels

    network = Network().train()
    with pytest.raises(ValueError, match="sample 3 of the data set for 'test': .* got 7"):
        count(network, Wrong(5), Protocol(), 4, accelerator)
    assert network.training
