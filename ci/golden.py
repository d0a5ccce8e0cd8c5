"""Golden checkpoints: a tiny trained network of each paper whose score may not move.

    python -m ci.golden                     evaluates all and says what moved; exit code 1 if anything did
    python -m ci.golden --record danet      trains danet's demo by the paper's own command and stores it; a commit first
    python -m ci.golden --rescore danet     stores new scores of the network that is there, after an intended change

Each lies under ci/golden as `model.safetensors` and `config.json`, with `golden.json` (command, commit, score) and the
scores of one image. The demo recipe is trained for 8 of its 40 epochs, and its protocol is replaced by one with
windows, two scales and mirroring, so that everything that tests an image takes part; the change stands in
`config.json`. Weights are stored in half precision, those of convolutions in 8 bits where that keeps a file below 1
MB; the scores are those of the rounded weights.

Demanded are the recorded mIoU within 0.01 points and the recorded scores within 1e-4 of the largest one of the same
pixel. Other numbers of threads and releases of torch add float32 numbers in another order, which moves scores by less
than 1e-6 of that, and merged as exp(scores) some ten times as much; a wrong computation moves them by 1e-2 or more.
"""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

import papers
from core import files, provenance
from core.datasets import Pairs
from core.datasets.sets import scenes
from core.datasets.transforms import TestSamples
from core.errors import door, refuse
from core.networks.inference import infer
from core.networks.network import Network
from core.paper import Paper
from core.testing.evaluation import count
from core.testing.metrics import Score
from core.testing.report import record
from hub import ship
from hub.networks import from_pretrained

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
RECORD = "golden.json"
SCORES = "scores.safetensors"

TOLERANCE = 0.01  # of mIoU, in points of 100
SCORE_TOLERANCE = 1e-4  # of the largest score of a pixel
RECORDS = ("ci/golden", "ci/learning.toml")  # what these gates record themselves changes nothing in what they measure
TESTED = 24  # scenes of the split "test"
IMAGE = (4, 0, 40, 56)  # seed, index, height and width of the scene whose scores are stored; no split has this seed

LARGEST_FILE = 10**6
"""Bytes; the weights of convolutions are stored in 8 bits where 16 would need more."""

SHORT = ("--recipe.optimisation.length", "8")
MACHINE = ("--run.threads", "1", "--run.workers", "0")  # so that the same command gives the same weights
PROTOCOL = (
    *("--recipe.protocol.crop", "80", "--recipe.protocol.stride", "48", "--recipe.protocol.base", "128"),
    *("--recipe.protocol.scales", "0.75", "1.25", "--recipe.protocol.flip"),
)


def command(paper: Paper, to: Path) -> list[str]:
    """The words that train the golden network of a paper; `to` is where its run folder goes."""
    options = [*SHORT, *PROTOCOL, "--recipe.protocol.merge", paper.golden_merge, *MACHINE]
    return [f"papers/{paper.folder}/train.py", paper.demo, *options, "--to", str(to), "--name", paper.demo]


def rounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as it is stored."""
    small = 2 * sum(value.numel() for value in state.values()) <= LARGEST_FILE
    return {
        name: value.to(torch.float16 if small or value.ndim < 4 else torch.float8_e4m3fn)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


def pairs() -> Pairs:
    """The scenes that the golden networks are tested on."""
    return scenes.scenes("test", TESTED)


def test(network: Network, tested: Pairs) -> Score:
    """Test a network on scenes with the protocol that its checkpoint names."""
    assert network.about is not None
    samples = TestSamples(tested, network.normalisation)
    counts = count(network, samples, network.about.protocol, len(tested.classes), Accelerator(cpu=True))
    return Score(tested.classes, counts)


def scores_of_one_image(network: Network) -> Tensor:
    """The merged scores of the stored image, k h w."""
    assert network.about is not None
    image, _ = scenes.draw(*IMAGE)
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    return infer(network.eval(), network.normalisation(pixels), network.about.protocol)


def moved(folder: str, tested: Pairs) -> list[str]:
    """What of a golden network is not as recorded, in sentences; empty if all is."""
    network = from_pretrained(GOLDEN / folder)
    return moved_score(folder, network, tested) + moved_scores(folder, network)


def moved_score(folder: str, network: Network, tested: Pairs) -> list[str]:
    """What of its score over the scenes is not as recorded."""
    stored = files.read_json(GOLDEN / folder / RECORD)
    score = test(network, tested)
    now = {"mean_iou": 100 * score.mean_iou, "pixel_accuracy": 100 * score.pixel_accuracy}
    return [
        f"{folder}: {name} is {value:.4f}, recorded is {stored[name]:.4f}"
        for name, value in now.items()
        if not abs(value - stored[name]) <= TOLERANCE
    ]


def moved_scores(folder: str, network: Network) -> list[str]:
    """Whether the scores of one image are not as recorded."""
    scores, recorded = scores_of_one_image(network), load_file(GOLDEN / folder / SCORES)["scores"]
    if scores.shape != recorded.shape:
        return [f"{folder}: the scores of one image are {tuple(scores.shape)}, recorded are {tuple(recorded.shape)}"]
    recorded = recorded / recorded.sum(dim=0)  # records of exp(scores) are older than their division by the sum
    difference = float(((scores - recorded).abs().amax(dim=0) / recorded.abs().amax(dim=0)).max())
    if difference <= SCORE_TOLERANCE:
        return []
    return [f"{folder}: the scores of one image differ by {difference:.2g} of the largest one of a pixel"]


def store(paper: Paper, run: Path, commit: str) -> None:
    """Round the network of a run folder, which the code of a commit trained, and keep it."""
    network = paper.network.from_pretrained(run)
    assert network.about is not None
    network.about = replace(network.about, commit=commit)
    ship.store(network, GOLDEN / paper.folder, rounded)
    (GOLDEN / paper.folder / "README.md").unlink(missing_ok=True)


def rescore(folder: str, commit: str, trained_by: str | None = None) -> dict[str, Any]:
    """Record what the stored network of a paper computes now, by the code of a commit.

    `trained_by` is the command that trained it; None keeps what is recorded.
    """
    where = GOLDEN / folder
    network = from_pretrained(where)
    assert network.about is not None
    trained_by = trained_by or files.read_json(where / RECORD)["command"]
    line = record(str(network.about.recipe["name"]), test(network, pairs()), command=trained_by, scenes=TESTED)
    line |= {"commit": commit, "trained_at": network.about.commit}
    files.write_json(where / RECORD, {name: value for name, value in line.items() if name != "confusion"})
    save_file({"scores": scores_of_one_image(network).contiguous()}, where / SCORES)
    return line


def _say(paper: Paper, line: dict[str, Any]) -> None:
    sys.stdout.write(f"{paper.folder}: mIoU {line['mean_iou']:.4f}\n")


def committed() -> str:
    """The commit of the code, whose records may have changed.

    Raises:
        SystemExit: with status 2 and a sentence, if anything else was changed, or there is no commit.
    """
    commit = provenance.commit(besides=RECORDS)
    if commit == "unknown" or commit.endswith("+"):
        refuse(f"what is recorded must be the work of a commit, and this tree is at {commit!r}; commit, then record")
    return commit


@dataclass(frozen=True)
class Options:
    """Evaluate, or record what is evaluated."""

    record: Annotated[tuple[str, ...], tyro.conf.arg(help="train and store, by the papers' folders")] = ()
    rescore: Annotated[tuple[str, ...], tyro.conf.arg(help="store new scores of the networks that are there")] = ()
    to: Annotated[Path, tyro.conf.arg(help="where the runs go")] = ROOT / "runs" / "golden"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return 1 if a score has moved."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    with door():
        recorded, rescored = papers.named(options.record), papers.named(options.rescore)
    if recorded or rescored:
        commit = committed()
        for paper in recorded:
            words = [*command(paper, options.to), "--run.restart"]
            subprocess.run([sys.executable, *words], cwd=ROOT, check=True)
            store(paper, options.to / paper.demo, commit)
            _say(paper, rescore(paper.folder, commit, f"python {' '.join(command(paper, Path('runs/golden')))}"))
        for paper in rescored:
            _say(paper, rescore(paper.folder, commit))
        return 0
    tested = pairs()
    found = [sentence for folder in papers.NAMES for sentence in moved(folder, tested)]
    sys.stdout.write("".join(f"{sentence}\n" for sentence in found) or "nothing moved\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
