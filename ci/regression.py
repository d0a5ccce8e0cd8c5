"""Check every published checkpoint, and print a table in Markdown for the summary of a job.

    python -m ci.regression --data /data >> "$GITHUB_STEP_SUMMARY"

The checkpoints stand in published.toml. The folder holds one folder for each data set, named as in the recipes
(cityscapes, voc2012, ...). The exit code is 0 if all hold, else 1 if one falls short, else 2; 2 too if none is
published, for then nothing was checked.
"""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ci.check import Gates, check
from ci.check import Options as CheckOptions
from ci.judgement import Judgement, Report
from core import datasets
from core.errors import refuse_unknown, require
from hub.markdown import row, table
from papers import paper_of

PUBLISHED = Path(__file__).parent / "published.toml"
FIELDS = {"recipe", "weights", "gate"}
HEADINGS = ("recipe", "weights", "gate", "verdict", "what")


@dataclass(frozen=True)
class Options:
    """Where the data sets are mounted."""

    data: Annotated[Path, tyro.conf.arg(help="folder of the folders of the data sets")]
    published: Annotated[Path, tyro.conf.arg(help="the list of checkpoints")] = PUBLISHED
    workers: int = 8


def published(file: Path = PUBLISHED) -> list[dict[str, Any]]:
    """The checkpoints of the list: recipe, weights, gate."""
    return tomllib.loads(file.read_text(encoding="utf-8")).get("checkpoint", [])


def checked(line: dict[str, Any], options: Options) -> Report:
    """Check one checkpoint of the list; a line that says nothing sensible is not judged."""
    recipe, weights, gate = (str(line.get(name, "")) for name in ("recipe", "weights", "gate"))
    try:
        said = f"a checkpoint has recipe, weights and, if need be, gate, got {', '.join(line)}"
        require(line.keys() | {"gate"} == FIELDS, said)
        refuse_unknown("the gate", gate := gate or "both", Gates)
        name = paper_of(recipe).recipes[recipe].data.name
    except ValueError as error:
        judgement = Judgement("regression", "not judged", f"{options.published.name}: {error}")
        return Report(recipe, weights, None, (judgement,))
    data = None if datasets.is_drawn(name) else options.data / name
    return check(CheckOptions(recipe, weights, data, gate=gate, workers=options.workers))  # type: ignore[arg-type]


def rows(report: Report) -> list[tuple[str, ...]]:
    """The lines of the table for one checkpoint: one for each judgement, those that do not hold in bold."""
    return [
        (
            f"`{report.recipe}`",
            report.weights,
            judgement.gate,
            judgement.verdict if judgement.verdict == "holds" else f"**{judgement.verdict}**",
            judgement.sentence.replace("|", "/").replace("\n", " "),
        )
        for judgement in report.judgements
    ]


def main(arguments: list[str] | None = None) -> int:
    """Check what is published, print the table line by line as the checks end, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    listed = published(options.published)
    sys.stdout.write(f"{table(HEADINGS, []) if listed else 'No checkpoint is published, so nothing was checked.'}\n")
    codes = set()
    for line in listed:
        report = checked(line, options)
        sys.stdout.write("".join(f"{row(cells)}\n" for cells in rows(report)))
        sys.stdout.flush()
        codes.add(report.exit)
    return 1 if 1 in codes else max(codes, default=2)


if __name__ == "__main__":
    sys.exit(main())
