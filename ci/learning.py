"""Does everything still learn? The networks of each paper on embedded pictures must reach what they reached before.

    python -m ci.learning                        trains those of all five and judges them
    python -m ci.learning danet sanet            trains those
    python -m ci.learning --record danet         measures seeds 0 to 4 and stores each as it is done; goes on if stopped

Each training has one thread, so that a processor of the same kind gives the same numbers, and as many run side by side
as there are cores.

*Level.* The demo is trained for 8 epochs, the network on pictures that ask for context (`beacons`) for 16. Each must
reach the mean mIoU of its recorded seeds less three of their standard deviations. The gate trains seed 0, one of the
recorded: five values are never further below their mean than 1.8 of their own deviations, so that, on the same kind of
machine, only a change of the code can turn the gate red. Elsewhere numbers are rounded otherwise, which is as good as
another seed.

*Gain.* The same network without the paper's modules is recorded with the same seeds, and the gain of a seed is the
network's mIoU less its baseline's. Where the mean gain exceeds the spread of the gains (largest less smallest), the
gate trains the baseline as well and holds the gain to the same rule. Elsewhere it prints the recorded gains.

The values stand in learning.toml, which is only appended to; of a seed that was recorded again, the last value counts.
The demos were recorded some days before their baselines; trained once more after these, seed 0 of all five gave the
same numbers to the last digit.
The exit code is 0 if all hold, 1 if one falls short, 2 if one could not be judged: fewer than five seeds recorded, or a
training that ended with an error.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import papers
from ci.golden import committed
from ci.measured import to_toml
from core import datasets, files
from core.datasets.processes import cores
from core.errors import door, require
from core.paper import Paper
from core.training.folder import SCORE

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "learning.toml"

DEMO_EPOCHS, EPOCHS = 8, 16
"""Of a paper's demo and its baseline, and of its other networks."""
SEEDS = range(5)
DEVIATIONS = 3.0

Line = dict[str, Any]
Ladder = tuple[str, str]


def epochs(recipe: str) -> int:
    """The budget of a recipe."""
    demos = [row.name for row in papers.paper_of(recipe).ladders[0]]
    return DEMO_EPOCHS if recipe in demos else EPOCHS


def command(recipe: str, seed: int, to: Path) -> list[str]:
    """The words that train a recipe for the budget."""
    script, length = f"papers/{papers.paper_of(recipe).folder}/train.py", str(epochs(recipe))
    options = ["--recipe.optimisation.length", length, "--run.seed", str(seed), "--run.threads", "1"]
    return [script, recipe, *options, "--to", str(to), "--name", recipe]


def trained(recipe: str, seed: int) -> Line:
    """Train a recipe for the budget, and return what is recorded of it.

    Raises:
        ValueError: with its last words, if the training ended with an error.
    """
    with tempfile.TemporaryDirectory() as to:
        started = time.perf_counter()
        words = [sys.executable, *command(recipe, seed, Path(to))]
        done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
        seconds = round(time.perf_counter() - started)
        score = files.read_json(Path(to) / recipe / SCORE)
    if done.returncode or score is None:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ValueError(f"train.py ended with status {done.returncode}: {lines[-1]}")
    told = {name: score[name] for name in ("commit", "date", "hardware")}
    line = {"recipe": recipe, "epochs": epochs(recipe), "seed": seed, "mean_iou": score["mean_iou"], "seconds": seconds}
    return {**line, **told}


def side_by_side(trainings: Iterable[tuple[str, int]]) -> Iterator[Line | ValueError]:
    """Train seeds of recipes, one on each core, and return what came of them, in order."""

    def attempt(training: tuple[str, int]) -> Line | ValueError:
        try:
            return trained(*training)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(attempt, trainings)


def recorded(recipe: str, file: Path = RECORDED) -> dict[int, float]:
    """The mIoU of each recorded seed of a recipe, at today's budget."""
    lines = tomllib.loads(file.read_text(encoding="utf-8")).get("run", [])
    own = [line for line in lines if line["recipe"] == recipe and line["epochs"] == epochs(recipe)]
    return {line["seed"]: float(line["mean_iou"]) for line in own}


def ladders(chosen: Iterable[Paper]) -> list[Ladder]:
    """The names of networks on embedded pictures, each with that of the same network without the paper's modules."""
    return [
        (network.name, without.name)
        for paper in chosen
        for network, without in paper.ladders
        if datasets.is_drawn(network.data.name)
    ]


def gains(ladder: Ladder, file: Path = RECORDED) -> list[float]:
    """The points by which a network exceeds its baseline, for each seed of which both are recorded."""
    network, baseline = (recorded(recipe, file) for recipe in ladder)
    return [network[seed] - baseline[seed] for seed in sorted(network.keys() & baseline.keys())]


def helps(values: Sequence[float]) -> bool:
    """Return True if there are enough gains, and their mean exceeds their spread."""
    return len(values) >= len(SEEDS) and statistics.mean(values) > max(values) - min(values)


def least(values: Sequence[float]) -> float:
    """The mean less three standard deviations.

    Raises:
        ValueError: if there are fewer than five values.
    """
    needed = f"{len(values)} seeds are recorded, and {len(SEEDS)} are needed; python -m ci.learning --record"
    require(len(values) >= len(SEEDS), needed)
    return statistics.mean(values) - DEVIATIONS * statistics.stdev(values)


def judge(chosen: Sequence[Paper], file: Path) -> int:
    """Train the networks, print how they did, and return the exit code."""
    started = time.perf_counter()
    codes: list[int] = []
    ready: list[Ladder] = []
    for ladder in ladders(chosen):
        try:
            least(list(recorded(ladder[0], file).values()))
            ready.append(ladder)
        except ValueError as error:
            codes.append(_say(ladder[0], f"not judged: {error}", 2))
    trainings = [network for network, _ in ready]
    trainings += [baseline for network, baseline in ready if helps(gains((network, baseline), file))]
    lines = dict(zip(trainings, side_by_side((recipe, SEEDS[0]) for recipe in trainings), strict=True))
    for ladder in ready:
        codes.append(_level(ladder[0], lines[ladder[0]], file))
        codes.append(_gain(ladder, lines, file))
    sys.stdout.write(f"{time.perf_counter() - started:.0f} s in all\n")
    return 1 if 1 in codes else max(codes, default=2)


def _level(recipe: str, line: Line | ValueError, file: Path) -> int:
    if isinstance(line, ValueError):
        return _say(recipe, f"not judged: {line}", 2)
    reached = f"mIoU {line['mean_iou']:.2f} after {line['seconds']} s"
    return _held(recipe, reached, line["mean_iou"], list(recorded(recipe, file).values()))


def _gain(ladder: Ladder, lines: dict[str, Line | ValueError], file: Path) -> int:
    """Say the recorded gain; hold the trained one to it where it was trained."""
    network, baseline = ladder
    values = gains(ladder, file)
    if len(values) < len(SEEDS):
        return _say(network, f"gain over {baseline} not judged: {len(values)} seeds of both are recorded", 2)
    if not helps(values):
        each = ", ".join(f"{value:+.2f}" for value in values)
        return _say(network, f"gain over {baseline} not held, it is within its spread: {each}", 0)
    failed = [line for line in (lines[network], lines[baseline]) if isinstance(line, ValueError)]
    if failed:
        return _say(network, f"gain over {baseline} not judged: {failed[0]}", 2)
    ours, plain = (line["mean_iou"] for line in (lines[network], lines[baseline]) if not isinstance(line, ValueError))
    return _held(network, f"gain over {baseline} {ours - plain:+.2f}", ours - plain, values)


def _held(recipe: str, reached: str, value: float, values: Sequence[float]) -> int:
    """Hold a value to those recorded of its kind, say so, and return 0 or 1."""
    wanted = least(values)
    rule = f"mean {statistics.mean(values):.2f} - {DEVIATIONS:g} x {statistics.stdev(values):.2f}, {len(values)} seeds"
    verdict = "reached" if value >= wanted else "falls short"
    return _say(recipe, f"{reached}, at least {wanted:.2f} wanted ({rule}): {verdict}", int(value < wanted))


def _say(recipe: str, sentence: str, code: int) -> int:
    sys.stdout.write(f"{recipe}: {sentence}\n")
    sys.stdout.flush()
    return code


def record(chosen: Sequence[Paper], file: Path) -> int:
    """Measure the seeds that are missing of networks and baselines, append each, and return the exit code."""
    commit = committed()
    recipes = [recipe for ladder in ladders(chosen) for recipe in ladder]
    missing = [(recipe, seed) for recipe in recipes for seed in SEEDS if seed not in recorded(recipe, file)]
    codes: list[int] = []
    for (recipe, seed), line in zip(missing, side_by_side(missing), strict=True):
        if isinstance(line, ValueError):
            codes.append(_say(recipe, f"seed {seed} is not recorded: {line}", 2))
            continue
        with file.open("a", encoding="utf-8") as opened:
            opened.write(to_toml({**line, "commit": commit}, "run"))
        codes.append(_say(recipe, f"seed {seed}: mIoU {line['mean_iou']:.2f} after {line['seconds']} s", 0))
    return max(codes, default=0)


@dataclass(frozen=True)
class Options:
    """Which papers, and whether to judge or to record."""

    papers: tyro.conf.Positional[tuple[str, ...]] = papers.NAMES
    record: Annotated[bool, tyro.conf.arg(help="measure the seeds that are missing")] = False
    file: Annotated[Path, tyro.conf.arg(help="the recorded seeds")] = RECORDED


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    with door():
        chosen = papers.named(options.papers)
    return (record if options.record else judge)(chosen, options.file)


if __name__ == "__main__":
    sys.exit(main())
