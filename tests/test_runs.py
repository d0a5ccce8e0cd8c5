"""Runs that can be trusted: one process in a folder, states that tell damage, signals, the best weights."""

import dataclasses
import errno
import json
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import safetensors.torch
import tiny
import tiny_train
import torch
from tiny import NAME, begin, differing, left, recipe
from torch import Tensor

from core import files
from core.recipe import Optimisation
from core.run import Run
from core.testing.metrics import Score
from core.training import checkpoint, lock, validation
from core.training.folder import folder_of
from core.training.learner import parameter_groups
from core.training.lock import Lock
from core.training.loop import train
from core.training.setup import test_size as size_note
from core.training.setup import young_average

Lines = list[dict[str, Any]]


pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.slow]


def wait_for_steps(folder: Path, steps: int, going_on: Callable[[], bool]) -> None:
    """Until so many lines are written."""
    path = folder / "metrics.jsonl"
    while not (path.is_file() and path.read_text().count("\n") >= steps):
        assert going_on()
        time.sleep(0.02)


SLOW = {"optimisation": {"length": 40}, "run": {"save_every": 100}, "pause": 0.1}


def test_a_second_process_is_kept_out_until_the_first_has_ended(tmp_path: Path) -> None:
    """The lock belongs to the process: SIGKILL ends it, and what the file still says locks nobody out."""
    process = forked.start([{"to": tmp_path, **SLOW}], tmp_path / "log")
    wait_for_steps(tmp_path / NAME, 2, process.is_alive)
    with pytest.raises(ValueError, match=rf"belongs to a run that is going on \(process {process.pid} on .*--name"):
        begin(tmp_path, recipe(length=40), seed=1, save_every=100)
    process.kill()
    process.join()
    assert (tmp_path / NAME / ".lock").is_file()
    begin(tmp_path, recipe(length=40), save_every=100).lock.release()
    assert not (tmp_path / NAME / ".lock").exists()


def test_a_folder_that_cannot_be_made_or_locked_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "a"))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(ValueError, match=f"{tmp_path} is read-only or not yours; change its permissions"):
            Lock(tmp_path / "a" / "b").take()

    def without(file: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "hold", without)
    with pytest.raises(ValueError, match=r"can't be locked \(No locks available\).*choose another --to"):
        Lock(tmp_path).take()


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a" / "b")
    lock.take()
    assert (tmp_path / "a" / "b" / ".lock").is_file()
    lock.release()
    assert not list(tmp_path.iterdir())


def test_a_changed_recipe_has_a_folder_of_its_own() -> None:
    published = recipe()
    other = dataclasses.replace(published, data=dataclasses.replace(published.data, name="hub:org/own"))
    assert folder_of(published, Run(), published, "none") == Path("runs/tiny")
    assert folder_of(recipe(batch=2), Run(name="mine"), published, "none") == Path("runs/mine")
    changed = {folder_of(recipe(batch=batch), Run(), published, "none").name for batch in (2, 3)}
    assert len(changed) == 2
    assert all(name.startswith("tiny-changed-") for name in changed)
    assert folder_of(other, Run(), published, "none").name.startswith("tiny-on-hub-org-own-")


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_a_name_is_one_folder(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        Run(name=name)


def stopped(to: Path, **run: Any) -> None:
    """A run that was killed after its state of step 4."""
    with pytest.raises(tiny.Killed):
        train(begin(to, objective=tiny.After(5, tiny.kill), **run))


def test_other_circumstances_are_refused_or_recorded(tmp_path: Path) -> None:
    stopped(tmp_path)
    with pytest.raises(ValueError, match=r"precision: fp32 -> bf16\).*--run.resume-anyway"):
        begin(tmp_path, precision="bf16")
    with pytest.raises(ValueError, match=r"threads: 1 -> 2\)"):
        begin(tmp_path, threads=2)
    train(begin(tmp_path, precision="bf16", resume_anyway=True))
    score = files.read_json(tmp_path / NAME / "score.json")
    assert score["resumed"] == [{"step": 4, "changed": {"precision": ["fp32", "bf16"]}}]
    assert score["weights"] == files.sha256(tmp_path / NAME / "model.safetensors")


def test_another_data_set_of_the_same_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path)
    usual = tiny.pairs

    def turned(split: str) -> Any:
        whole = usual(split)
        return dataclasses.replace(whole, rows=list(reversed(whole.rows)))

    monkeypatch.setattr(tiny, "pairs", turned)
    with pytest.raises(ValueError, match=r"data.train: 13 images, \w+ -> 13 images, \w+"):
        begin(tmp_path)


def test_the_environment_does_not_overrule_accumulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert begin(tmp_path, accumulate=2).accelerator.gradient_accumulation_steps == 2


# ---- states


def flips(path: Path, number: int) -> dict[str, int]:
    """How many single flipped bits are told, change nothing, or are read as something else."""
    whole, draw = path.read_bytes(), random.Random(1)
    expected, found = checkpoint.load_state(path), {"told": 0, "same": 0, "other": 0}
    for _ in range(number):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            state = checkpoint.load_state(path)
        except ValueError:
            found["told"] += 1
        else:
            found["other" if differing(expected, state) else "same"] += 1
    return found


def test_no_flipped_bit_is_read_as_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    generator = torch.Generator().manual_seed(0)
    checkpoint.save_state(path, {"network": {"w": torch.randn(300, 300, generator=generator)}, "step": 4})
    found = flips(path, 150)
    assert found["other"] == 0
    assert found["told"] > 140  # the rest lies in padding between the tensors


def test_a_damaged_state_costs_one_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopped(tmp_path / "killed")
    path = tmp_path / "killed" / NAME / "state.pt"
    damaged = bytearray(path.read_bytes())
    for place in range(len(damaged) // 3, len(damaged) // 3 + 400):
        damaged[place] ^= 16
    path.write_bytes(damaged)
    training = begin(tmp_path / "killed")
    assert training.state is not None
    assert training.state["step"] == 2
    train(training)
    assert "Going on from the state before it" in capsys.readouterr().out
    train(begin(tmp_path / "whole"))
    assert differing(left(tmp_path / "whole" / NAME), left(tmp_path / "killed" / NAME)) == []


def test_a_kill_between_two_renames_costs_one_interval(tmp_path: Path) -> None:
    stopped(tmp_path)
    (tmp_path / NAME / "state.pt").unlink()
    training = begin(tmp_path)
    assert training.state is not None
    assert training.state["step"] == 2


@pytest.mark.parametrize("part", ["momentum", "weights"])
def test_what_is_not_finite_is_named_and_replaces_no_state(tmp_path: Path, part: str) -> None:
    def spoil(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        where = training_of[0].network.classify.bias
        if part == "weights":
            where.data[0] = float("inf")
        else:
            where.register_hook(lambda gradient: gradient * float("nan"))
        return terms

    training_of: list[Any] = []
    training_of.append(begin(tmp_path, objective=tiny.After(5, spoil)))
    with pytest.raises(FloatingPointError, match="not finite"):
        train(training_of[0])
    assert checkpoint.load_state(tmp_path / NAME / "state.pt")["step"] == 4


def test_a_state_with_nan_is_told(tmp_path: Path) -> None:
    checkpoint.save_state(tmp_path / "s.pt", {"network": {"w": torch.tensor([1.0, float("nan")])}})
    with pytest.raises(ValueError, match=r"not finite \(network.w\)"):
        checkpoint.load_state(tmp_path / "s.pt")


def test_final_files_have_the_usual_permissions(tmp_path: Path) -> None:
    train(begin(tmp_path, recipe(length=1)))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / NAME).iterdir()}
    assert set(modes.values()) == {0o666 & ~umask()}


def umask() -> int:
    usual = os.umask(0)
    os.umask(usual)
    return usual


def test_a_run_knows_its_data_from_anywhere(tmp_path: Path) -> None:
    train(begin(tmp_path, recipe(length=1), data=Path("pictures")))
    assert files.read_json(tmp_path / NAME / "run.json")["data"] == str(Path.cwd() / "pictures")


# ---- signals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """What a run leaves that nobody has stopped, by its processes."""
    folders = {processes: tmp_path_factory.mktemp("whole") for processes in (1, 2)}
    for processes, to in folders.items():
        job = {"to": to, "run": {"save_every": 100, "workers": 1}}
        assert forked.run(processes, [job], to / "log") == 0, (to / "log").read_text()
    return folders


def goes_on(job: dict[str, Any], processes: int, log: Path, whole: dict[int, Path]) -> None:
    """A run that was stopped says so, has a state, and the same command makes of it what nobody has stopped."""
    folder = job["to"] / NAME
    step = checkpoint.load_state(folder / "state.pt")["step"]
    assert 2 <= step < 8
    assert f"stopped at step {step}; the same command goes on" in log.read_text()
    assert forked.run(processes, [{**job, "pause": 0}], log) == 0, log.read_text()
    assert f"going on at step {step}" in log.read_text()
    assert differing(left(whole[processes] / NAME), left(folder)) == []


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_and_the_same_command_goes_on(
    tmp_path: Path, number: int, processes: int, whole: dict[int, Path]
) -> None:
    """Of several processes it reaches one alone, or SIGTERM all, as from a launcher; all stop at the same step."""
    job = {"to": tmp_path / "stopped", "pause": 0.1, "run": {"save_every": 100, "workers": 1}}
    log = tmp_path / "log"
    group = forked.start_group(processes, [job], log)
    wait_for_steps(job["to"] / NAME, 2, group[0].is_alive)
    for process in group if number == signal.SIGTERM else group[-1:]:
        os.kill(process.pid or 0, number)
    assert [forked.wait(process) for process in group] == [128 + number] * processes
    goes_on(job, processes, log, whole)


def test_launchers_of_two_nodes_equal_two_processes_and_pass_a_signal_on(
    tmp_path: Path, whole: dict[int, Path]
) -> None:
    """As on two nodes: each has its own `torchrun`, they meet at the first one's address, and all stop with one."""
    best = {"to": tmp_path / "nodes", "run": {"validate_every": 1, "keep": "best"}}
    job = {"to": tmp_path / "stopped", "pause": 0.1, "run": {"save_every": 100, "workers": 1}}
    meet = ["--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(forked.port())]
    logs, launchers = [tmp_path / "0.log", tmp_path / "1.log"], []
    for rank, log in enumerate(logs):
        words = ["-m", "torch.distributed.run", *meet, "--node_rank", str(rank), tiny_train.__file__]
        launchers.append(forked.fork(forked.be, [*words, json.dumps([best, job], default=str)], log=log))
    wait_for_steps(job["to"] / NAME, 2, launchers[0].is_alive)
    os.kill(launchers[1].pid or 0, signal.SIGTERM)
    assert 0 not in [forked.wait(launcher) for launcher in launchers]
    goes_on(job, 2, logs[0], whole)

    one = {**best, "to": tmp_path / "one"}
    assert forked.run(2, [one], tmp_path / "one.log") == 0, (tmp_path / "one.log").read_text()
    assert differing(left(tmp_path / "one" / NAME), left(tmp_path / "nodes" / NAME)) == []


# ---- what is kept


def scores(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let validations give these means, and the test the true one."""
    usual, left_over = validation.is_best, iter(values)

    def judge(training: Any, progress: Any, score: Any) -> bool:
        value = next(left_over) / 100

        class Said(Score):
            mean_iou = property(lambda self: value)  # type: ignore[assignment]

        return usual(training, progress, Said(score.classes, score.confusion))

    monkeypatch.setattr(validation, "is_best", judge)


def test_the_best_weights_are_kept_and_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores(monkeypatch, [10.0, 30.0, 20.0])  # after steps 3, 6 and 8
    train(begin(tmp_path, keep="best", validate_every=1, save_every=3))
    folder = tmp_path / NAME
    state = checkpoint.load_state(folder / "state.previous.pt")
    assert state["step"] == 6
    best = safetensors.torch.load_file(folder / "best" / "model.safetensors")
    assert differing(best, dict(state["network"])) == []
    for place in (folder, folder / "best"):
        score = files.read_json(place / "score.json")
        assert score["tested"] == "best, of step 6"
        assert score["weights"] == files.sha256(folder / "best" / "model.safetensors")
    assert [line["step"] for line in tiny.metrics(folder) if "validation" in line] == [3, 6, 8]


def test_patience_ends_a_run_and_it_stays_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores(monkeypatch, [30.0, 20.0])
    train(begin(tmp_path, patience=1, validate_every=1))
    assert checkpoint.load_state(tmp_path / NAME / "state.pt")["step"] == 6
    counted = tiny.After(0, tiny.kill)
    train(begin(tmp_path, objective=counted, patience=1, validate_every=1))
    assert counted.calls == 0


def test_a_killed_run_that_keeps_the_best_goes_on_bit_for_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"keep": "best", "validate_every": 1}
    train(begin(tmp_path / "whole", **options))
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path / "killed", objective=tiny.After(7, tiny.kill), **options))
    train(begin(tmp_path / "killed", **options))
    one, other = tmp_path / "whole" / NAME, tmp_path / "killed" / NAME
    assert differing(left(one), left(other)) == []
    assert (one / "best" / "model.safetensors").read_bytes() == (other / "best" / "model.safetensors").read_bytes()


def test_a_run_whose_best_weights_are_gone_says_so_before_it_goes_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"keep": "best", "validate_every": 1}
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path, objective=tiny.After(7, tiny.kill), **options))
    shutil.rmtree(tmp_path / NAME / "best")
    with pytest.raises(ValueError, match=r"there is no .*best, which held the best weights so far \(mIoU .*, step"):
        train(begin(tmp_path, **options))
    train(begin(tmp_path, keep="last", validate_every=1))


def test_a_kill_while_the_best_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    network = tiny.Tiny(3)
    validation.keep_best(tmp_path, network)
    (tmp_path / "best").rename(tmp_path / ".best.old.part")
    (tmp_path / ".best.part").mkdir()
    validation.clean(tmp_path)
    assert os.listdir(tmp_path) == ["best"]
    tiny.Tiny.from_pretrained(tmp_path / "best")


def test_own_data_is_validated_at_less_than_a_tenth_of_the_cost(tmp_path: Path) -> None:
    """13 images, batches of 4: 3 * 4 * 32^2 pixels a step; 3 images of 40 x 48, mirrored too: 11520."""
    training = begin(tmp_path)
    assert validation.interval(training) == 0
    own = dataclasses.replace(training.recipe, data=dataclasses.replace(training.recipe.data, name="folder"))
    for steps, interval in ((100, 21), (60, 21), (45, 24), (30, 30), (8, 9)):  # 18.75 cost 20 times that
        training = dataclasses.replace(training, recipe=own, steps=steps)
        assert validation.interval(training) == interval
    assert validation.keeps_best(training)


# ---- options for own data


def test_another_training_size_is_said() -> None:
    what = dataclasses.replace(recipe(), protocol=dataclasses.replace(recipe().protocol, base=320))
    note = size_note({"augmentation.base": (320, 96)}, what)
    assert note is not None
    assert "--recipe.protocol.base 96" in note
    assert size_note({"augmentation.base": (320, 96), "protocol.base": (240, 320)}, what) is None
    assert size_note({"augmentation.flip": (True, False)}, what) is None


def test_an_average_that_hardly_leaves_the_start_is_said_before_training(tmp_path: Path) -> None:
    """0.99^8 is 0.92."""
    (note,) = begin(tmp_path, recipe(ema=0.99)).notes
    assert "after 8 steps the average of the weights (optimisation.ema 0.99)" in note
    assert "92 % of their start" in note
    assert "--recipe.optimisation.ema 0" in note
    long = Optimisation(0.01, 8, 100, "steps", ema=0.99)
    assert young_average(long, 299) is not None
    assert young_average(long, 301) is None
    assert young_average(dataclasses.replace(long, ema=0.0), 1) is None


def test_the_rate_rises_in_the_warm_up() -> None:
    warm, cold = (Optimisation(0.01, 8, 100, "steps", warmup=number) for number in (4, 0))
    assert [warm.rate(step, 100) for step in range(4)] == pytest.approx(
        [cold.rate(step, 100) * (step + 1) / 4 for step in range(4)]
    )
    assert warm.rate(4, 100) == cold.rate(4, 100)


def test_options_for_own_data_train(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimiser": "adamw", "warmup": 2, "class_weights": "median", "learning_rate": 0.01}
    train(begin(tmp_path / "whole", recipe(**options)))
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path / "killed", recipe(**options), tiny.After(5, tiny.kill)))
    train(begin(tmp_path / "killed", recipe(**options)))
    assert differing(left(tmp_path / "whole" / NAME), left(tmp_path / "killed" / NAME)) == []
    assert "exp_avg" in checkpoint.load_state(tmp_path / "whole" / NAME / "state.pt")["optimiser"]["state"][0]


def test_a_clipped_step_is_no_longer_than_allowed(tmp_path: Path) -> None:
    what = recipe(clip=1e-3, length=1, momentum=0.0, weight_decay=0.0)
    training = begin(tmp_path, what)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    train(training)
    moved = torch.cat([(value - before[name]).flatten() for name, value in training.network.named_parameters()])
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)  # the rate times the norm


@pytest.mark.parametrize("freeze", ["backbone", "batchnorm"])
def test_what_is_frozen_stays(tmp_path: Path, freeze: Any) -> None:
    training = begin(tmp_path, recipe(length=2, freeze=freeze))
    before = {name: value.clone() for name, value in training.network.backbone.state_dict().items()}
    train(training)
    same = {name for name, value in training.network.backbone.state_dict().items() if torch.equal(value, before[name])}
    running = {name for name in before if "running" in name}
    assert running
    assert same >= running
    assert (same == set(before)) == (freeze == "backbone")
    assert len(parameter_groups(training.network, training.recipe.optimisation)) == (1 if freeze == "backbone" else 2)
