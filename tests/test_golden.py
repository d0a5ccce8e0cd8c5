"""The golden networks score what was recorded, and a bug in anything that makes a score turns them red."""

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file
from torch import Tensor

from ci import golden
from ci.golden import GOLDEN, RECORD, SCORES, moved, moved_score, moved_scores
from core.datasets import Pairs
from core.files import read_json
from core.networks.inference import infer
from core.networks.network import Network
from core.networks.repository import CONFIG, WEIGHTS
from core.recipe import Protocol
from hub.networks import from_pretrained
from papers import NAMES as FOLDERS

MILLION = 10**6


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    """What is recorded was computed on a CPU; other tests may have settled for another device."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def tested() -> Pairs:
    return golden.pairs()


@pytest.fixture(scope="module")
def answers() -> dict[bytes, Tensor]:
    return {}


@pytest.fixture
def asked_once(answers: dict[bytes, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """DANet answers once for each scene: what makes a score of its answers is what these tests look at."""

    def remembered(network: Network, image: Tensor, protocol: Protocol) -> Tensor:
        scene = image.numpy().tobytes()
        if scene not in answers:
            answers[scene] = infer(network, image, protocol)
        return answers[scene]

    monkeypatch.setattr("core.testing.evaluation.infer", remembered)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_scores_of_an_image_have_moved(folder: str) -> None:
    """With windows, scales and mirrored images, merged in the way of this network."""
    assert moved_scores(folder, from_pretrained(GOLDEN / folder)) == []


@pytest.mark.slow
@pytest.mark.usefixtures("asked_once")
def test_no_score_has_moved(tested: Pairs) -> None:
    """What makes a score of the scores of images is the same for all papers; the command looks at each."""
    assert moved("danet", tested) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_golden_network_is_small_trained_and_tells_how(folder: str) -> None:
    where = GOLDEN / folder
    assert {file.name for file in where.iterdir()} == {CONFIG, WEIGHTS, "fingerprint.json", RECORD, SCORES}
    assert (where / WEIGHTS).stat().st_size < MILLION
    stored, about = read_json(where / RECORD), read_json(where / CONFIG)["about"]
    assert stored["recipe"] == about["recipe"]["name"] == f"{folder}-demo"
    assert f"papers/{folder}/train.py {folder}-demo" in stored["command"]
    assert {"date", "hardware"} <= stored.keys()
    assert stored["trained_at"] == about["commit"]
    assert all(re.fullmatch("[0-9a-f]{12}", commit) for commit in (stored["trained_at"], stored["commit"]))
    protocol = about["recipe"]["protocol"]
    assert protocol["crop"] > protocol["stride"]
    assert protocol["flip"]
    assert len(protocol["scales"]) == 2
    assert set(about["changed"]) <= {"optimisation.length", *(f"protocol.{name}" for name in protocol)}
    assert stored["mean_iou"] > 20  # one class for all pixels makes 3 to 4


def test_together_they_merge_in_every_way() -> None:
    protocols = [read_json(GOLDEN / folder / CONFIG)["about"]["protocol"] for folder in FOLDERS]
    assert {protocol["merge"] for protocol in protocols} == {"softmax", "scores", "exp"}


@dataclass(frozen=True)
class Bug:
    """A line of a function or a method, `owner` in `module`, and what it is mistaken for."""

    module: str
    owner: str
    line: str
    mistake: str

    def plant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the line by the mistake, as if somebody had written it."""
        module = importlib.import_module(self.module)
        *path, name = self.owner.split(".")
        place = getattr(module, path[0]) if path else module
        source = textwrap.dedent(inspect.getsource(getattr(place, name)))
        assert source.count(self.line) == 1, f"{self.owner} has no line {self.line!r} any more: plant another bug"
        written: dict[str, object] = {}
        exec(source.replace(self.line, self.mistake), vars(module), written)
        monkeypatch.setattr(place, name, written[name])


SCORING = {
    "metrics: the first class is not counted": Bug(
        "core.testing.metrics",
        "confusion",
        "counted = labels != IGNORE",
        "counted = (labels != IGNORE) & (labels != 0)",
    ),
    "label mapping: a class is taken for its neighbour": Bug(
        "core.datasets.samples", "Pairs.lookup", "table[value] = label", "table[value] = 3 if label == 2 else label"
    ),
}
MERGING = {
    "windows: the last one wins": Bug(
        "core.networks.inference",
        "Scale.take",
        "self.answers.add(answer, slice(y, y + self.window[0]), slice(x, x + self.window[1]))",
        "self.answers.values[:, y : y + self.window[0], x : x + self.window[1]] = answer.values",
    ),
    "flip: scores are not mirrored back": Bug(
        "core.networks.inference",
        "_answer",
        "scores[1] = scores[1].flip(-1)",
        "pass",
    ),
    "scales: only the last counts": Bug(
        "core.networks.inference", "_merge_each", "_merged(total, answers,", "_merged(None, answers,"
    ),
}
ATTENTION = {
    "danet": Bug("papers.danet.model", "PositionAttention.forward", "attention(C, B, D)", "attention(B, C, D)"),
    "dfdam": Bug(
        "papers.dfdam.model",
        "DualAttentionFusion.forward",
        "alpha_L * X_L, alpha_H * X_H",
        "alpha_H * X_L, alpha_L * X_H",
    ),
    "pdanet": Bug("papers.pdanet.model", "PositionAttention.forward", "attention(C, B, D)", "attention(B, C, D)"),
    "ranet": Bug(
        "papers.ranet.interaction", "RegionInteraction.forward", "interact(L, regions, phi, others=self.others)", "L"
    ),
    "sanet": Bug("papers.sanet.model", "SqueezeAndAttention.forward", "X_attn * X_res + X_attn", "X_attn * X_res"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("asked_once")
@pytest.mark.parametrize("bug", SCORING.values(), ids=SCORING)
def test_a_planted_bug_moves_the_score(bug: Bug, tested: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    network = from_pretrained(GOLDEN / "danet")
    bug.plant(monkeypatch)
    monkeypatch.setattr("core.testing.evaluation.confusion", importlib.import_module("core.testing.metrics").confusion)
    assert any("danet: mean_iou is" in sentence for sentence in moved_score("danet", network, tested))


@pytest.mark.parametrize("folder", ["danet", "dfdam", "sanet"])  # merged by exp, softmax and scores
@pytest.mark.parametrize("bug", MERGING.values(), ids=MERGING)
def test_a_planted_bug_moves_the_scores_of_an_image(folder: str, bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    network = from_pretrained(GOLDEN / folder)
    bug.plant(monkeypatch)
    assert moved_scores(folder, network) != []


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "bug"), ATTENTION.items(), ids=ATTENTION)
def test_a_planted_bug_in_an_attention_moves_the_scores(folder: str, bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    network = from_pretrained(GOLDEN / folder)
    bug.plant(monkeypatch)
    assert moved_scores(folder, network) != []


def test_scores_are_compared_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel whose recorded scores are ten million times smaller than another's counts like it."""
    recorded = load_file(GOLDEN / "danet" / SCORES)["scores"]
    smallest = recorded.amax(dim=0).argmin()
    assert recorded.amax(dim=0).flatten()[smallest] < 1e-4 * recorded.max()
    scores = recorded / recorded.sum(dim=0)
    scores.flatten(1)[:, smallest] *= 1.001
    monkeypatch.setattr(golden, "scores_of_one_image", lambda network: scores)
    (sentence,) = moved_scores("danet", from_pretrained(GOLDEN / "danet"))
    assert "differ by 0.001 of the largest one of a pixel" in sentence


def test_every_paper_has_a_golden_network_and_a_planted_bug() -> None:
    assert set(FOLDERS) == set(ATTENTION)


def test_the_command_says_what_moved(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"danet": [], "sanet": ["sanet: mean_iou is 1.0000, recorded is 2.0000"]}
    monkeypatch.setattr(golden, "pairs", lambda: None)
    monkeypatch.setattr(golden, "moved", lambda folder, tested: said.get(folder, []))
    assert golden.main([]) == 1
    assert capsys.readouterr().out == "sanet: mean_iou is 1.0000, recorded is 2.0000\n"
    said.clear()
    assert golden.main([]) == 0
    assert capsys.readouterr().out == "nothing moved\n"


def test_a_word_that_is_no_paper_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        golden.main(["--record", "fcn", "--to", str(tmp_path)])
    assert left.value.code == 2
    assert "fcn" in capsys.readouterr().err
