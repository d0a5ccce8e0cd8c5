"""All benchmarks of a GPU: each part is a command that its benchmark takes, and no benchmark is left out."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ci.bench import __main__ as bench
from ci.bench import gpu, step
from ci.bench.harness import Line
from core import machine
from core.networks.network import Network
from papers import NAMES, paper_of

Call = tuple[str, dict[str, Any]]


def calls(monkeypatch: pytest.MonkeyPatch, parts: tuple[tuple[str, ...], ...]) -> list[Call]:
    """What the parts ask of the benchmarks, none of which runs."""
    seen: list[Call] = []

    def spy(name: str, main: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(main)
        def noted(**given: Any) -> int:
            seen.append((name, given))
            return 0

        return noted

    for name, main in list(bench.BENCHES.items()):
        monkeypatch.setitem(bench.BENCHES, name, spy(name, main))
    for words in parts:
        assert bench.main(gpu.written(words, "cuda", Path("lines.json"))) == 0
    return seen


@pytest.mark.parametrize("parts", [gpu.PARTS, gpu.SMALL])
def test_each_part_is_a_command(monkeypatch: pytest.MonkeyPatch, parts: tuple[tuple[str, ...], ...]) -> None:
    seen = calls(monkeypatch, parts)
    assert [name for name, _ in seen] == [words[0] for words in parts]
    assert all(given["to"] == Path("lines.json") for _, given in seen)
    assert all(given["device"] == "cuda" for name, given in seen if name != "data")


def test_every_benchmark_is_a_part_and_the_data_are_last() -> None:
    assert {words[0] for words in gpu.PARTS} == set(bench.BENCHES) - {"gpu"}
    assert gpu.PARTS[-1][0] == "data"


def test_a_step_of_each_paper_is_compiled_and_a_small_one_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [given for name, given in calls(monkeypatch, gpu.PARTS) if name == "step"]
    assert {paper_of(given["recipe"]).folder for given in steps if given.get("compile")} == set(NAMES)
    assert [given["recipe"] for given in steps if given.get("graphs")] == ["danet-r18-camvid"]


def test_what_is_least_known_comes_first() -> None:
    """No whole step of the network with depthwise convolutions has been measured as it is now; RANet's has."""
    recipes = [words[1] for words in gpu.PARTS if words[0] == "step"]
    assert recipes[1:4] == ["sanet-b7-pascal-context", "sanet-b7-pascal-context", "ranet-r101-cityscapes"]


@pytest.mark.slow
def test_programs_are_measured_beside_the_usual_form(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def compiled(network: Network, graphs: bool = False) -> Network:
        seen.append(graphs)
        return network

    monkeypatch.setattr(machine, "compiled", compiled)
    monkeypatch.setattr(step, "require", lambda holds, sentence: None)  # as on a GPU
    reported: list[list[Line]] = []
    monkeypatch.setattr(step, "report", lambda lines, device, to: reported.append(lines) or 0)
    assert step.main("danet-demo", batch=2, crop=32, rounds=1) == 0
    assert step.main("danet-demo", batch=2, crop=32, rounds=1, compile=True, graphs=True) == 0
    (_,), (plain, *lines) = reported
    programs = ["compiled", "compiled, with CUDA graphs"]
    assert [line.name.removeprefix("danet-demo, fp32, ") for line in lines] == programs
    assert {line.usual for line in lines} == {plain.usual}
    assert seen == [False, True]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("small", [True, False])
def test_without_a_gpu_it_says_so(small: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        gpu.main(small=small)
    assert stop.value.code == 2
    assert "--small --device cpu rehearses it" in capsys.readouterr().err


def test_graphs_are_refused_on_a_cpu() -> None:
    with pytest.raises(ValueError, match=r"--graphs replays kernels of a GPU, got --device cpu; leave it out"):
        step.main("danet-r18-camvid", graphs=True)
