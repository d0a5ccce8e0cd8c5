"""What differs between computers."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from torch import nn
from torch.nn import functional

from core import machine, provenance
from core.networks.blocks import _Enlarged, enlarge, pooled
from core.networks.losses import cross_entropy
from core.run import Run


@pytest.mark.parametrize(
    ("processes", "threads", "expected"), [("1", None, 4), ("2", None, 2), ("8", None, 1), ("1", 3, 3)]
)
def test_a_process_on_a_cpu_gets_its_share_of_the_cores(
    processes: str, threads: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launchers leave one thread to a process that is alone on its computer."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    torch.set_num_threads(1)
    machine.use_cores(torch.device("cpu"), threads)
    assert torch.get_num_threads() == expected


@pytest.mark.parametrize("time", ["first", "second"])
def test_threads_that_a_test_takes_are_given_back(time: str) -> None:
    """Or all tests after a command in the same process would compute with as many, and wait for those of the others."""
    assert torch.get_num_threads() != 7, time
    torch.set_num_threads(7)


def test_threads_are_left_alone_where_a_gpu_computes() -> None:
    torch.set_num_threads(1)
    machine.use_cores(torch.device("cuda"), 2)
    assert torch.get_num_threads() == 1


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other C library gives memory back like this")
def test_what_a_step_frees_on_a_cpu_is_there_for_the_next(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert not forked.wait(forked.fork(_steps, tmp_path, log=log, ACCELERATE_USE_CPU="true")), log.read_text()
    before, after = map(int, (tmp_path / "pages").read_text().split())
    assert after < before / 10, "before a run starts, and in it"


def _steps(folder: Path) -> None:
    before = _pages()
    machine.start(Run(threads=1), 4, folder)
    (folder / "pages").write_text(f"{before} {_pages()}")


def _pages() -> int:
    """Pages that the system hands out for four blocks, of which each is freed before the next."""
    import resource

    for _ in range(16):  # glibc lets the first few lie
        torch.ones(2**24)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - taken


def test_the_seed_of_a_step_is_a_function_of_its_numbers() -> None:
    def drawn(*numbers: int) -> float:
        machine.seed_everything(*numbers)
        return float(torch.rand(()))

    assert drawn(0, 5, 1) == drawn(0, 5, 1)
    assert len({drawn(0, 5, 1), drawn(0, 5, 0), drawn(0, 6, 1), drawn(1, 5, 1)}) == 4


def test_a_record_names_hardware_commit_and_date() -> None:
    assert "CPU" in provenance.hardware() or "x" in provenance.hardware()
    assert len(provenance.today()) == 10
    assert provenance.commit() == "unknown" or len(provenance.commit().rstrip("+")) == 12


def test_a_commit_tells_whether_the_tree_was_changed_and_may_leave_paths_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    for file in ("code.py", "ci/records.toml", "core/provenance.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    git("init")
    git("add", "-A")
    git("commit", "-m", "everything")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "core" / "provenance.py"))
    clean = provenance.commit()
    assert len(clean) == 12
    (tmp_path / "ci/records.toml").write_text("new")
    assert (provenance.commit(), provenance.commit(besides=["ci/records.toml"])) == (f"{clean}+", clean)
    assert provenance.commit(besides=["ci"]) == clean
    (tmp_path / "code.py").write_text("new")
    assert provenance.commit(besides=["ci/records.toml"]) == f"{clean}+"


@pytest.mark.parametrize(
    ("device", "processes", "expected"),
    [("cuda", "1", 7), ("cuda", "2", 3), ("cuda", "8", 1), ("cuda", "16", 1), ("cpu", "1", 2), ("cpu", "8", 1)],
)
def test_images_are_loaded_by_a_share_of_the_cores(
    device: str, processes: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.workers(None, torch.device(device)) == expected
    assert machine.workers(0, torch.device(device)) == 0
    assert machine.workers(5, torch.device(device)) == 5


@pytest.mark.parametrize(
    ("choice", "device", "precision", "expected"),
    [
        ("auto", "cuda", "bf16", True),
        ("auto", "cuda", "fp16", True),
        ("auto", "cuda", "fp32", False),
        ("auto", "cpu", "bf16", False),
        ("on", "cpu", "fp32", True),
        ("off", "cuda", "bf16", False),
    ],
)
def test_channels_last_is_on_where_it_pays(choice: Any, device: str, precision: Any, expected: bool) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2))
    assert machine.channels_last(choice, torch.device(device), precision, plain) == expected
    depthwise = nn.Sequential(plain, nn.Conv2d(4, 4, 3, groups=4))
    assert machine.channels_last(choice, torch.device(device), precision, depthwise) == (choice == "on")


def test_deterministic_means_and_losses_are_the_usual_ones() -> None:
    """What stands in for operations that are not deterministic on a GPU."""
    torch.manual_seed(0)
    features = torch.randn(2, 3, 13, 17, requires_grad=True)
    scores, labels = torch.randn(2, 4, 9, 11, requires_grad=True), torch.randint(0, 4, (2, 9, 11))
    labels[0, :3] = 255

    def results() -> list[torch.Tensor]:
        means = [pooled(features, bins) for bins in (1, 2, 3, 6)]
        loss = cross_entropy(scores, labels)
        total = sum(mean.square().sum() for mean in means) + loss
        return [*means, loss, *torch.autograd.grad(total, (features, scores))]

    usual = results()
    torch.use_deterministic_algorithms(True)
    try:
        found = results()
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(found, usual, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("given", "size"), [((5, 7), (33, 41)), ((1, 1), (9, 4)), ((6, 6), (3, 4)), ((40, 30), (40, 31))]
)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_gradient_of_enlarging_as_products_is_the_usual_one(
    align_corners: bool, given: tuple[int, int], size: tuple[int, int], device: str
) -> None:
    maps = torch.randn(2, 3, *given, device=device, requires_grad=True)
    weights = torch.randn(2, 3, *size, device=device)

    def gradient(enlarged: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad((enlarged * weights).sum(), maps)[0]

    ours = _Enlarged.apply if device == "cpu" else enlarge
    usual = functional.interpolate(maps, size, mode="bilinear", align_corners=align_corners)
    found = ours(maps, torch.Size(size), align_corners)
    assert torch.equal(found, usual)
    torch.testing.assert_close(gradient(found), gradient(usual), atol=1e-4, rtol=1e-5)


def test_a_deterministic_run_sets_everything_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        machine.be_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


@pytest.mark.parametrize("run", [{}, {"compile": True, "accumulate": 2}])
def test_graphs_need_a_compiled_network_and_whole_batches(run: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"run.cuda_graphs needs run.compile, and run.accumulate 1"):
        Run(cuda_graphs=True, **run)
