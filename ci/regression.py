"""Check every published checkpoint, and print a table in Markdown for the summary of a job.

    python -m ci.regression --data /data >> "$GITHUB_STEP_SUMMARY"

The checkpoints stand in published.toml. The folder holds one folder for each data set, named as in the recipes
(cityscapes, voc2012, ...). The exit code is 0 if all hold, else 1 if one falls short, else 2; 2 too if none is
published, for then nothing was checked.
"""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ci.check import Options as CheckOptions
from ci.check import Report, check
from ci.rows import table
from hub.networks import paper_of

PUBLISHED = Path(__file__).parent / "published.toml"


@dataclass(frozen=True)
class Options:
    """Where the data sets are mounted."""

    data: Annotated[Path, tyro.conf.arg(help="folder of the folders of the data sets")]
    published: Annotated[Path, tyro.conf.arg(help="the list of checkpoints")] = PUBLISHED
    workers: int = 8


def published(file: Path = PUBLISHED) -> list[dict[str, str]]:
    """The checkpoints of the list: recipe, weights, gate."""
    return tomllib.loads(file.read_text(encoding="utf-8")).get("checkpoint", [])


def checked(line: dict[str, str], options: Options) -> Report:
    """Check one checkpoint of the list."""
    recipe = line["recipe"]
    name = paper_of(recipe).recipes[recipe].data.name
    data = None if name == "scenes" else options.data / name
    gate = line.get("gate", "both")
    return check(CheckOptions(recipe, line["weights"], data, gate=gate, workers=options.workers))  # type: ignore[arg-type]


def summary(reports: Sequence[Report]) -> str:
    """The table: a line for each judgement, those that do not hold in bold."""
    headings = ("recipe", "weights", "gate", "verdict", "what")
    lines = [
        (
            f"`{report.recipe}`",
            report.weights,
            judgement.gate,
            judgement.verdict if judgement.verdict == "holds" else f"**{judgement.verdict}**",
            judgement.sentence.replace("|", "/"),
        )
        for report in reports
        for judgement in report.judgements
    ]
    return table(headings, lines) if lines else "No checkpoint is published, so nothing was checked."


def main(arguments: list[str] | None = None) -> int:
    """Check what is published, print the table, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    reports = [checked(line, options) for line in published(options.published)]
    sys.stdout.write(summary(reports) + "\n")
    codes = {report.exit for report in reports}
    return 1 if 1 in codes else max(codes, default=2)


if __name__ == "__main__":
    sys.exit(main())
