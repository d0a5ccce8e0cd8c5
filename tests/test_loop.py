"""The training loop: what a kill, a resumption, several processes and a NaN may not change.

Runs take a second: a network of two convolutions, 13 scenes, 8 steps of 4. "Killed" means one of two things: SIGKILL to
a process of its own (`tiny_train.py`), or an exception from the loss in the middle of a step, which nothing catches and
which costs no new process.
"""

import copy
import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import forked
import pytest
import safetensors.torch
import timm.layers
import tiny
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from tiny import NAME, begin, differing, left, recipe, tree
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from core import files, machine
from core.datasets.sets.scenes import CLASSES as SCENES
from core.datasets.transforms import Order, TestSamples
from core.recipe import Augmentation, Protocol, Recipe
from core.testing.evaluation import count
from core.training import checkpoint
from core.training.loop import train
from papers.danet.loss import loss as danet_loss
from papers.danet.model import DANet
from papers.danet.recipes import DEMO, RECIPES

KILLED = 5  # steps that a run finishes before it is killed; its state is then at step 4
EVERYTHING: dict[str, Any] = {"validate_every": 1}  # what every resumed run does besides training


pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.slow]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs on two processes: once for those that are not killed or are killed, once to go on."""
    to = tmp_path_factory.mktemp("two")
    shared = {"optimisation": {"ema": 0.5, "head_multiplier": 10.0}, "run": EVERYTHING}
    exact = {"to": to / "exact", "noisy": False, "optimisation": {"head_multiplier": 10.0}}
    whole, killed = {"to": to / "whole", **shared}, {"to": to / "killed", **shared}
    assert forked.run(2, [exact, whole, {**killed, "kill_at": KILLED}], to / "first.log") != 0
    assert checkpoint.load_state(to / "killed" / NAME / "state.pt")["step"] == 4, (to / "first.log").read_text()
    assert forked.run(2, [killed], to / "second.log") == 0, (to / "second.log").read_text()
    assert "going on at step 4" in (to / "second.log").read_text()
    return to


# ---- a killed run


@pytest.mark.parametrize(
    ("run", "optimisation"),
    [({}, {}), ({"workers": 2}, {}), ({"accumulate": 2}, {}), ({}, {"ema": 0.5}), ({"log_every": 3}, {})],
    ids=["plain", "workers", "accumulate", "average", "rare lines"],
)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, run: dict[str, Any], optimisation: dict[str, Any]) -> None:
    """Trap 1: the order, the augmentation, dropout, momentum or the average of a resumed run is another one."""
    what, run = recipe(**optimisation), {**EVERYTHING, **run}
    train(begin(tmp_path / "whole", what, **run))

    parts = run.get("accumulate", 1)  # killed between the two parts of a step
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path / "killed", what, tiny.After(KILLED * parts + parts - 1, tiny.kill), **run))
    counted = tiny.After(10**6, tiny.kill)
    resumed = begin(tmp_path / "killed", what, counted, **run)
    assert resumed.state is not None
    assert resumed.state["step"] == 4
    train(resumed)

    assert counted.calls == 4 * parts  # it went on, and did not begin again
    whole = left(tmp_path / "whole" / NAME)
    assert differing(whole, left(tmp_path / "killed" / NAME)) == []
    assert whole["state"]["optimiser"]["state"][0]["momentum_buffer"].abs().sum() > 0
    trained = [line["step"] for line in whole["metrics"] if "loss" in line]
    assert trained == ([2, 3, 4, 6, 8] if "log_every" in run else list(range(1, 9)))
    assert [line["step"] for line in whole["metrics"] if "validation" in line] == [3, 6, 8]


@pytest.mark.parametrize("shared", [False, True])
def test_whole_images_of_several_sizes_are_trained_and_go_on_bit_for_bit(tmp_path: Path, shared: bool) -> None:
    """Without a crop a batch is padded to its largest image; a factor that a step shares is that of the step."""
    sizes = Augmentation(crop=None, scale=(0.5, 0.8, 1.1), listed=True, shared=shared, limit=44, multiple=8)
    what = dataclasses.replace(recipe(), augmentation=sizes)
    shapes = []

    def watch(output: tiny.Output, labels: Tensor) -> dict[str, Tensor]:
        shapes.append(tuple(labels.shape))
        return tiny.loss(output, labels)

    train(begin(tmp_path / "whole", what, watch, **EVERYTHING))
    assert len(set(shapes)) > 1
    assert {side % 8 for shape in shapes for side in shape[1:]} == {0}
    assert max(side for shape in shapes for side in shape[1:]) == 48  # 44, rounded up
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path / "killed", what, tiny.After(KILLED, tiny.kill), **EVERYTHING))
    train(begin(tmp_path / "killed", what, **EVERYTHING))
    assert differing(left(tmp_path / "whole" / NAME), left(tmp_path / "killed" / NAME)) == []


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    """Another seed, and another start of the same steps, are other runs in every weight and every line."""
    for seed in (0, 1):
        train(begin(tmp_path / str(seed), seed=seed))
    names = differing(left(tmp_path / "0" / NAME), left(tmp_path / "1" / NAME))
    assert {"weights.classify.weight", "state.optimiser.state.0.momentum_buffer", "metrics.0.loss"} <= set(names)


def test_an_error_ends_a_run_whose_images_other_processes_load(tmp_path: Path) -> None:
    job = {"to": tmp_path, "fail_at": 2, "run": {"workers": 2}}
    assert forked.run(1, [job], tmp_path / "log") == 1  # and not: wait for these processes forever
    assert "an error that nobody catches" in (tmp_path / "log").read_text().splitlines()[-1]


def test_workers_change_nothing(tmp_path: Path) -> None:
    for workers in (0, 2):
        train(begin(tmp_path / str(workers), workers=workers))
    assert differing(left(tmp_path / "0" / NAME), left(tmp_path / "2" / NAME)) == []


def test_two_killed_processes_go_on_bit_for_bit(two: Path) -> None:
    """Trap 1 again: on two processes a prepared loader would silently give another run."""
    assert differing(left(two / "whole" / NAME), left(two / "killed" / NAME)) == []


@pytest.mark.parametrize(
    ("kill", "step", "run"),
    [({"kill_at": KILLED}, 4, {"workers": 2}), ({"kill_in_save": 3}, 4, {})],
    ids=["in an epoch", "in a save"],
)
def test_sigkill_loses_at_most_one_interval(
    tmp_path: Path, kill: dict[str, int], step: int, run: dict[str, Any]
) -> None:
    """A half-written state never takes the place of the last whole one, and does not disturb what follows."""
    job = {"to": tmp_path / "killed", "run": run, **kill}
    assert forked.run(1, [job], tmp_path / "log") == -9, (tmp_path / "log").read_text()
    folder = tmp_path / "killed" / NAME
    assert (folder / ".state.pt.part").exists() == ("kill_in_save" in kill)
    assert checkpoint.load_state(folder / "state.pt")["step"] == step
    (folder / ".model.part").mkdir()  # as a kill in the very last save leaves it
    (folder / ".model.part" / "config.json").write_text("{")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "los')

    train(begin(tmp_path / "killed"))
    train(begin(tmp_path / "whole"))
    assert differing(left(tmp_path / "whole" / NAME), left(folder)) == []
    assert set(tree(folder)) == set(tree(tmp_path / "whole" / NAME))  # nothing half-written remains


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    """The same command again tests once more, trains nothing, and adds no second test to the metrics."""
    train(begin(tmp_path))
    before, kept = left(tmp_path / NAME), (tmp_path / NAME / "state.pt").read_bytes()
    counted = tiny.After(0, tiny.kill)
    train(begin(tmp_path, objective=counted))
    assert counted.calls == 0
    assert differing(before, left(tmp_path / NAME)) == []
    assert (tmp_path / NAME / "state.pt").read_bytes() == kept


# ---- how a batch is divided


def test_two_processes_and_two_parts_give_the_steps_of_one(tmp_path: Path, two: Path) -> None:
    """Gradients are means over the whole batch: not sums, and not the mean of the last part alone."""
    what = recipe(noisy=False, head_multiplier=10.0)
    for accumulate in (1, 2):
        train(begin(tmp_path / str(accumulate), what, accumulate=accumulate))
    one = tmp_path / "1" / NAME
    expected = [line for line in tiny.metrics(one) if "loss" in line]
    assert len({line["loss"] for line in expected}) == 8
    for other in (tmp_path / "2" / NAME, two / "exact" / NAME):
        found = [line for line in tiny.metrics(other) if "loss" in line]
        assert [line["step"] for line in found] == list(range(1, 9))
        for line, wanted in zip(found, expected, strict=True):
            assert line["terms"] == pytest.approx(wanted["terms"], abs=1e-4)
            assert line["scalars"] == pytest.approx(wanted["scalars"], abs=1e-4)
        weights = safetensors.torch.load_file(other / "model.safetensors")
        for name, value in safetensors.torch.load_file(one / "model.safetensors").items():
            torch.testing.assert_close(weights[name], value, atol=1e-5, rtol=1e-4)


def test_the_score_of_two_processes_is_that_of_the_saved_network(two: Path) -> None:
    """Without synchronised BatchNorm each process has running means of its own; only the main one's are saved."""
    for run in ("whole", "exact"):
        network = tiny.Tiny.from_pretrained(two / run / NAME)
        accelerator = Accelerator()
        samples = TestSamples(tiny.pairs("test"), network.normalisation)
        counts = count(network, samples, Protocol(flip=True), len(SCENES), accelerator)
        record = files.read_json(two / run / NAME / "score.json")
        assert record["processes"] == 2
        assert record["confusion"] == counts.tolist()


@pytest.mark.parametrize("schedule", ["poly", "linear"])
def test_the_learning_rate_is_the_formula(tmp_path: Path, schedule: str) -> None:
    """Each step's rate, in the metrics and in the optimiser, whose head group has its multiple."""
    used: list[list[float]] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimiser, *_: used.append([group["lr"] for group in optimiser.param_groups])
    )
    try:
        train(begin(tmp_path, recipe(schedule=schedule, power=0.7, head_multiplier=10.0), accumulate=2))
    finally:
        hook.remove()
    power = 0.7 if schedule == "poly" else 1.0
    expected = [0.1 * (1 - step / 8) ** power for step in range(8)]
    found = [line["learning_rate"] for line in tiny.metrics(tmp_path / NAME) if "loss" in line]
    assert found == pytest.approx(expected, rel=1e-12)
    assert [backbone for backbone, _ in used] == pytest.approx(expected, rel=1e-12)  # one step for the two parts
    assert [head for _, head in used] == pytest.approx([10 * rate for rate in expected], rel=1e-12)


def test_the_learning_rate_is_the_same_on_two_processes(two: Path) -> None:
    """Trap 2: a prepared scheduler is stepped once for each process, so the rate would reach 0 at half time."""
    found = [line["learning_rate"] for line in tiny.metrics(two / "exact" / NAME) if "loss" in line]
    assert found == pytest.approx([0.1 * (1 - step / 8) ** 0.9 for step in range(8)], rel=1e-12)
    groups = checkpoint.load_state(two / "exact" / NAME / "state.pt")["optimiser"]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([found[-1], 10 * found[-1]])


def test_the_head_is_everything_outside_the_backbone(tmp_path: Path) -> None:
    train(begin(tmp_path))
    backbone, head = checkpoint.load_state(tmp_path / NAME / "state.pt")["optimiser"]["param_groups"]
    assert len(backbone["params"]) == 4  # convolution and BatchNorm, weight and bias each
    assert len(head["params"]) == 3  # the classifier's and the scalar


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_and_parts_share_the_same_batches(processes: int, accumulate: int) -> None:
    """The batch of a step is that of one process, each image in exactly one share."""

    def batches(process: int, processes: int, accumulate: int, steps: range = range(9)) -> list[list[Any]]:
        order = Order(27, 8, steps, 3, process, processes, accumulate)
        assert len(order) == len(steps) * accumulate
        return list(order)

    whole = batches(0, 1, 1)
    shares = [batches(process, processes, accumulate) for process in range(processes)]
    for step, batch in enumerate(whole):
        parts = [share[step * accumulate + number] for number in range(accumulate) for share in shares]
        assert {len(part) for part in parts} == {8 // (processes * accumulate)}
        assert sorted(itertools.chain(*parts)) == sorted(batch)

    for epoch in range(3):  # 27 images: 3 steps of 8, and 3 images that this epoch does without
        seen = [key for batch in whole[3 * epoch : 3 * epoch + 3] for key in batch]
        assert {number for number, _, _ in seen} == {epoch}
        assert len({index for _, index, _ in seen}) == len(seen) == 24
        assert {index for _, index, _ in seen} <= set(range(27))
    assert [index for _, index, _ in whole[0]] != [index for _, index, _ in whole[3]]  # a new permutation
    assert list(Order(27, 8, range(9), 4)) != whole  # by the seed

    for first in (1, 3, 5):  # in an epoch, at its end, in the next
        assert batches(0, processes, accumulate, range(first, 9)) == shares[0][first * accumulate :]


# ---- what is not finite


def test_a_term_that_is_not_finite_stops_the_run_by_name(tmp_path: Path) -> None:
    """Trap 8: the term, the last good state, and a state on disk from which the run can go on."""

    def nan(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**terms, "size": terms["size"] * float("nan")}

    folder = tmp_path / "nan" / NAME
    with pytest.raises(FloatingPointError, match=r"'size' is not finite between steps 5 and 6") as caught:
        train(begin(tmp_path / "nan", objective=tiny.After(KILLED, nan)))
    assert "'labels'" not in str(caught.value)
    assert str(folder / "state.pt") in str(caught.value)

    state = checkpoint.load_state(folder / "state.pt")
    assert state["step"] == 4
    assert all(value.isfinite().all() for value in state["network"].values())
    train(begin(tmp_path / "nan"))
    train(begin(tmp_path / "whole"))
    assert differing(left(tmp_path / "whole" / NAME), left(folder)) == []


def test_a_term_that_was_not_finite_between_two_lines_is_found_at_the_next(tmp_path: Path) -> None:
    """A NaN of a single step, long before the line that is written for it, still counts."""
    once = iter([float("inf")])

    def infinite(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**terms, "labels": terms["labels"].detach() * next(once, 0.0) + terms["labels"]}

    with pytest.raises(FloatingPointError, match="'labels' is not finite between steps 0 and 8; no state was saved"):
        train(begin(tmp_path, objective=tiny.After(2, infinite), log_every=50, save_every=50))
    assert not (tmp_path / NAME / "state.pt").exists()


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """A loss can be finite while its gradient is not: the square root of 0."""

    def steep(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**terms, "size": (terms["size"] * 0).sqrt()}

    with pytest.raises(FloatingPointError, match=r"weights are not finite after step 6") as caught:
        train(begin(tmp_path, objective=tiny.After(KILLED, steep)))
    assert str(tmp_path / NAME) in str(caught.value)
    state = checkpoint.load_state(tmp_path / NAME / "state.pt")
    assert state["step"] == 4
    assert all(value.isfinite().all() for value in state["network"].values())


# ---- what a run leaves


def short(name: str = DEMO, **optimisation: Any) -> Recipe[Any]:
    """DANet's demo for three steps of small crops."""
    demo = RECIPES[name]
    shortened = dataclasses.replace(
        demo.optimisation, batch=4, length=3, unit="steps", learning_rate=0.02, **optimisation
    )
    return dataclasses.replace(demo, optimisation=shortened, augmentation=Augmentation(crop=32))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_run_folder_holds_everything(tmp_path: Path, ema: float, capsys: pytest.CaptureFixture[str]) -> None:
    what = short(ema=ema)
    training = begin(tmp_path, what, danet_loss, published=RECIPES[DEMO], build=DANet, log_every=2, save_every=100)
    with tiny.drawing():
        score = train(training)
    folder = tmp_path / DEMO
    names = {"README.md", "config.json", "model.safetensors", "fingerprint.json", "state.pt"}
    assert set(tree(folder)) == names | {
        *("run.json", "metrics.jsonl", "score.json", "curves.png", "confusion.png", "predictions.png")
    }
    for picture in ("curves.png", "confusion.png", "predictions.png"):
        with Image.open(folder / picture) as opened:
            opened.load()
            assert min(opened.size) > 100
            assert len(opened.convert("RGB").getcolors(2**24) or []) > 10

    # The checkpoint is the trained network, or its average.
    network = DANet.from_pretrained(folder)
    image = torch.randn(1, 3, 40, 48)
    trained = training.network.eval()
    with torch.no_grad():
        same = torch.equal(network.eval()(image).scores, trained(image).scores)
    assert same == (not ema)
    state = checkpoint.load_state(folder / "state.pt")
    assert differing(dict(network.state_dict()), dict(state["average"] if ema else state["network"])) == []
    assert network.about is not None
    assert network.about.classes == SCENES
    assert network.about.changed["optimisation.batch"] == [16, 4]

    # The score is that of the checkpoint.
    samples = TestSamples(tiny.pairs("val"), network.normalisation)
    AcceleratorState._reset_state(reset_partial_state=True)
    again = count(network, samples, what.protocol, len(SCENES), Accelerator())
    record = files.read_json(folder / "score.json")
    assert score.confusion.tolist() == again.tolist() == record["confusion"]
    assert record["mean_iou"] == 100 * score.mean_iou
    assert record["recipe"] == DEMO
    assert record["changed"]["optimisation.batch"] == [16, 4]

    lines = tiny.metrics(folder)
    assert [line["step"] for line in lines] == [2, 3, 3]
    assert set(lines[0]["terms"]) == {"fused", "position", "channel"}
    assert lines[0]["loss"] == pytest.approx(sum(lines[0]["terms"].values()))
    assert len(lines[0]["scalars"]) == 2  # alpha and beta
    assert lines[-1]["test"]["mean_iou"] == record["mean_iou"]
    assert "optimisation.batch: 16 -> 4" in capsys.readouterr().out


def test_a_log_has_lines_in_place_of_a_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(folder: Path, silence: float) -> list[str]:
        monkeypatch.setattr("core.training.log.SILENCE", silence)
        train(begin(folder, short(), danet_loss, build=DANet, log_every=1))
        said = capsys.readouterr()
        assert "\r" not in said.err
        return [line for line in said.out.splitlines() if line.startswith("step ")]

    first, _, last = told(tmp_path / "often", 0.0)
    assert re.fullmatch(r"step 1 of 3: .*fused \d\.\d{3}, .*rate \S+, images_s \S+; \d\d:\d\d left", first)
    assert last.startswith("step 3 of 3: ")
    assert last.endswith("; 00:00 left")
    assert told(tmp_path / "never", 1000.0) == []


def test_lines_are_means_over_their_steps(tmp_path: Path) -> None:
    """A line of `log_every` steps is their mean, also after a state in between has cut it short."""
    train(begin(tmp_path / "each"))
    train(begin(tmp_path / "rare", log_every=3, save_every=4))
    each = {line["step"]: line for line in tiny.metrics(tmp_path / "each" / NAME) if "loss" in line}
    rare = [line for line in tiny.metrics(tmp_path / "rare" / NAME) if "loss" in line]
    assert [line["step"] for line in rare] == [3, 4, 6, 8]
    for line, steps in zip(rare, [(1, 2, 3), (4,), (5, 6), (7, 8)], strict=True):
        for name, value in line["terms"].items():
            assert value == pytest.approx(sum(each[step]["terms"][name] for step in steps) / len(steps), rel=1e-5)


# ---- what differs between machines


class Activated(nn.Module):
    """A convolution with EfficientNet's kind of BatchNorm, which has an activation inside, and a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(3, 6, 3, padding=1)
        self.normalise = timm.layers.BatchNormAct2d(6, act_layer=nn.SiLU)
        self.plain = nn.BatchNorm2d(6)

    def forward(self, image: Tensor) -> Tensor:
        return self.plain(self.normalise(self.convolve(image)))


def processes(number: int, device: str) -> Accelerator:
    """An accelerator of that many processes, as far as BatchNorm is concerned."""
    accelerator = Mock(spec=Accelerator)
    accelerator.num_processes, accelerator.device = number, torch.device(device)
    return accelerator


def test_synchronised_batchnorm_keeps_activations() -> None:
    """Trap 4: torch's own conversion drops the activation inside EfficientNet's BatchNorm without a word."""
    torch.manual_seed(0)
    network = Activated()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, 8, 9))  # running means that are not 0 and 1
    network.eval()
    image = torch.randn(2, 3, 8, 9)
    expected = network(image)
    dropped = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    assert (dropped(image) - expected).abs().max() > 0.1  # the trap is still there

    synchronised = machine.synchronise_batchnorm(network, processes(2, "cuda"))
    kinds = [module for module in synchronised.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert len(kinds) == 2
    torch.testing.assert_close(synchronised.eval()(image), expected, atol=0, rtol=0)


def test_batchnorm_stays_where_it_cannot_be_synchronised() -> None:
    network = Activated()
    alone = processes(1, "cuda")
    assert machine.synchronise_batchnorm(network, alone) is network
    on_cpu = processes(2, "cpu")
    assert machine.synchronise_batchnorm(network, on_cpu) is network
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    said = "".join(str(call) for call in on_cpu.print.mock_calls)
    assert "not synchronised" in said
    without = processes(2, "cuda")
    convolution = nn.Conv2d(3, 6, 3)
    assert machine.synchronise_batchnorm(convolution, without) is convolution
    alone.print.assert_not_called()
    without.print.assert_not_called()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of a run with no options."""
    to = tmp_path_factory.mktemp("usual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        train(begin(to, recipe(noisy=False)))
    return losses(to)


def losses(to: Path) -> list[float]:
    return [line["loss"] for line in tiny.metrics(to / NAME) if "loss" in line]


def test_bf16_trains(tmp_path: Path, usual: list[float]) -> None:
    """The forward pass is in bfloat16 (the losses are close but not equal), the weights stay in float32."""
    train(begin(tmp_path, recipe(noisy=False), precision="bf16"))
    assert losses(tmp_path) == pytest.approx(usual, rel=0.03)
    assert losses(tmp_path) != pytest.approx(usual, rel=1e-6)
    weights = safetensors.torch.load_file(tmp_path / NAME / "model.safetensors")
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights.values())


def test_channels_last_gives_the_same_losses(tmp_path: Path, usual: list[float]) -> None:
    training = begin(tmp_path, recipe(noisy=False), channels_last="on")
    train(training)
    assert training.network.classify.weight.is_contiguous(memory_format=torch.channels_last)
    assert losses(tmp_path) == pytest.approx(usual, rel=1e-4)
    tiny.Tiny.from_pretrained(tmp_path / NAME)


def test_compiled_gives_the_same_losses(tmp_path: Path, usual: list[float]) -> None:
    """The checkpoint of a compiled run has the names of the plain network.

    Traced and differentiated ahead of time as always, but without the last stage, in which a C++ compiler would work
    for half a minute.
    """
    job = {"to": tmp_path, "noisy": False, "run": {"compile": True}, "backend": "aot_eager"}
    assert forked.run(1, [job], tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert losses(tmp_path) == pytest.approx(usual, rel=1e-4)
    assert len(tiny.Tiny.from_pretrained(tmp_path / NAME).state_dict()) == 5
