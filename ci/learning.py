"""Does everything still learn? The demo of each paper, trained briefly, must reach what it reached before.

    python -m ci.learning                        trains all five and judges them; some five minutes on two cores
    python -m ci.learning danet sanet            trains those
    python -m ci.learning --record danet         measures seeds 0 to 4 and stores each as it is done; goes on if stopped

A demo recipe is trained for 8 of its 40 epochs. It must reach the mean mIoU of its recorded seeds less three of their
standard deviations. The gate trains seed 0, one of the recorded: five values are never further below their mean than
1.8 of their own deviations, so that, on the same kind of machine, only a change of the code can turn the gate red.

The values stand in learning.toml, which is only appended to; of a seed that was recorded again, the last value counts.
The exit code is 0 if all reach it, 1 if one falls short, 2 if one could not be judged: fewer than five seeds recorded.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ci.golden import FOLDERS, Folder
from core import checkpoint
from core.preparation import SCORE

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "learning.toml"

EPOCHS = 8
SEEDS = range(5)
DEVIATIONS = 3.0

Line = dict[str, Any]


def command(folder: Folder, seed: int, to: Path, threads: int | None = None) -> list[str]:
    """The words that train a demo for the budget."""
    words = [f"papers/{folder}/train.py", f"{folder}-demo", "--recipe.optimisation.length", str(EPOCHS)]
    words += ["--run.seed", str(seed), "--to", str(to)]
    return words if threads is None else [*words, "--run.threads", str(threads)]


def trained(folder: Folder, seed: int, threads: int | None = None) -> Line:
    """Train a demo for the budget, and return what is recorded of it."""
    with tempfile.TemporaryDirectory() as to:
        started = time.perf_counter()
        words = command(folder, seed, Path(to), threads)
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds = round(time.perf_counter() - started)
        score = checkpoint.read_json(Path(to) / f"{folder}-demo" / SCORE)
    told = {name: score[name] for name in ("commit", "date", "hardware")}
    return {"paper": folder, "epochs": EPOCHS, "seed": seed, "mean_iou": score["mean_iou"], "seconds": seconds, **told}


def recorded(folder: Folder, file: Path = RECORDED) -> dict[int, float]:
    """The mIoU of each recorded seed of a paper, at today's budget."""
    lines = tomllib.loads(file.read_text(encoding="utf-8")).get("run", [])
    own = [line for line in lines if line["paper"] == folder and line["epochs"] == EPOCHS]
    return {line["seed"]: float(line["mean_iou"]) for line in own}


def least(values: Sequence[float]) -> float:
    """The mean less three standard deviations.

    Raises:
        ValueError: if there are fewer than five values.
    """
    if len(values) < len(SEEDS):
        raise ValueError(
            f"{len(values)} seeds are recorded, and {len(SEEDS)} are needed; python -m ci.learning --record"
        )
    return statistics.mean(values) - DEVIATIONS * statistics.stdev(values)


def judge(folder: Folder, file: Path, threads: int | None) -> int:
    """Train a demo, print how it did, and return 0, 1 or 2."""
    values = list(recorded(folder, file).values())
    try:
        wanted = least(values)
    except ValueError as error:
        sys.stdout.write(f"{folder}: not judged: {error}\n")
        return 2
    line = trained(folder, SEEDS[0], threads)
    holds = line["mean_iou"] >= wanted
    sys.stdout.write(
        f"{folder}: mIoU {line['mean_iou']:.2f} after {line['seconds']} s, at least {wanted:.2f} wanted (mean "
        f"{statistics.mean(values):.2f} - {DEVIATIONS:g} x {statistics.stdev(values):.2f}, {len(values)} seeds): "
        f"{'reached' if holds else 'falls short'}\n"
    )
    return 0 if holds else 1


def to_toml(line: Line) -> str:
    """A line as it is appended."""
    words = [
        f"{name} = {value!r}" if not isinstance(value, str) else f'{name} = "{value}"' for name, value in line.items()
    ]
    return "\n[[run]]\n" + "".join(f"{word}\n" for word in words)


@dataclass(frozen=True)
class Options:
    """Which papers, and whether to judge or to record."""

    papers: tyro.conf.Positional[tuple[Folder, ...]] = FOLDERS
    record: Annotated[bool, tyro.conf.arg(help="measure the seeds that are missing")] = False
    threads: Annotated[int | None, tyro.conf.arg(help="CPU threads of a training; None: all cores")] = None
    file: Annotated[Path, tyro.conf.arg(help="the recorded seeds")] = RECORDED


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    if not options.record:
        codes = {judge(folder, options.file, options.threads) for folder in options.papers}
        return 1 if 1 in codes else max(codes, default=2)
    for folder in options.papers:
        for seed in SEEDS:
            if seed not in recorded(folder, options.file):
                line = trained(folder, seed, options.threads)
                with options.file.open("a", encoding="utf-8") as file:
                    file.write(to_toml(line))
                sys.stdout.write(f"{folder}, seed {seed}: mIoU {line['mean_iou']:.2f} after {line['seconds']} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
