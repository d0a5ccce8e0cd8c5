"""The results tables of the READMEs, from the recipes (reported) and from measured.toml (measured).

python -m ci.rows             prints them
python -m ci.rows --write     puts them between the marks `<!-- NAME -->` and `<!-- end of NAME -->` of the READMEs
"""

import re
import statistics
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from core.recipe import Recipe
from papers.danet.recipes import RECIPES as DANET
from papers.dfdam.recipes import RECIPES as DFDAM
from papers.pdanet.recipes import RECIPES as PDANET

ROOT = Path(__file__).parent.parent
MEASURED = Path(__file__).parent / "measured.toml"
PAPERS: dict[str, dict[str, Recipe[Any]]] = {"danet": DANET, "dfdam": DFDAM, "pdanet": PDANET}

ABLATIONS: dict[str, set[str]] = {"DANet": {"Table 1"}, "DF-DAM": {"Table 1", "Table 2"}, "PDANet": set()}
"""Tables that compare parts of a network: they stand in the paper's README only."""


def measured() -> list[dict[str, Any]]:
    """The measured scores, oldest first: recipe, metric, value in percent, and the circumstances."""
    return tomllib.loads(MEASURED.read_text(encoding="utf-8")).get("score", [])


def results(recipes: dict[str, Recipe[Any]]) -> str:
    """A line for each reported row, and for each recipe of ours: reported and latest measured value."""
    lines = ["| recipe | what | where | reported | measured |", "|---|---|---|---|---|"]
    for name, recipe in recipes.items():
        for row in recipe.reported or (None,):
            where, value = (f"{row.table}, {row.split}", f"{row.value:.2f}") if row else (recipe.data.test, "none")
            metric = row.metric if row else "mIoU"
            cells = (where, value if metric == "mIoU" else f"{value} {metric}", _latest(name, metric))
            lines.append(f"| `{name}` | {recipe.summary} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _latest(name: str, metric: str) -> str:
    """The value measured at the latest commit that measured this recipe: its mean and range, if of several seeds."""
    scores = [score for score in measured() if score["recipe"] == name and score["metric"] == metric]
    values = [score["value"] for score in scores if score["commit"] == scores[-1]["commit"]]
    if len(values) < 2:
        return "".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f}, {len(values)} seeds)"


def circumstances(recipes: dict[str, Recipe[Any]]) -> str:
    """How each measured score of these recipes came about."""
    lines = [
        "| recipe | seed | mIoU | pixel accuracy | command | commit | hardware | time | date |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for score in measured():
        if score["recipe"] in recipes and score["metric"] == "mIoU":
            cells = [
                f"`{score['recipe']}`",
                str(score["seed"]),
                f"{score['value']:.2f}",
                f"{score['pixel_accuracy']:.2f}",
            ]
            cells += [
                f"`{score['command']}`",
                score["commit"],
                score["hardware"],
                f"{score['minutes']} min",
                score["date"],
            ]
            lines.append(f"| {' | '.join(cells)} |")
    notes = [
        f"`{score['recipe']}`: {score['note']}"
        for score in measured()
        if score["recipe"] in recipes and "note" in score
    ]
    return "\n\n".join(["\n".join(lines), *notes])


def tables() -> dict[Path, dict[str, str]]:
    """The tables of each README: file -> name of the mark -> text."""
    summary = {name: recipe for recipes in PAPERS.values() for name, recipe in recipes.items() if _headline(recipe)}
    files = {ROOT / "README.md": {"results": results(summary)}}
    for paper, recipes in PAPERS.items():
        files[ROOT / "papers" / paper / "README.md"] = {
            "results": results(recipes),
            "measured": circumstances(recipes),
        }
    return files


def _headline(recipe: Recipe[Any]) -> bool:
    """Whether a row stands on the first page: what a paper reports beyond its ablations, or what we have measured."""
    tables = {row.table for row in recipe.reported}
    return bool(tables - ABLATIONS[recipe.reported[0].paper]) if tables else recipe.name in _measured_names()


def _measured_names() -> set[str]:
    return {score["recipe"] for score in measured()}


def with_tables(text: str, named: dict[str, str]) -> str:
    """The text with its marked tables replaced.

    Raises:
        ValueError: if a mark is missing.
    """
    for name, table in named.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        found = re.search(f"{re.escape(start)}\n.*?{re.escape(end)}", text, re.DOTALL)
        if found is None:
            raise ValueError(f"there is no place for the table {name!r}; add the lines {start} and {end}")
        text = f"{text[: found.start()]}{start}\n{table}\n{end}{text[found.end() :]}"
    return text


@dataclass(frozen=True)
class Options:
    """Print the tables, or write them into the READMEs."""

    write: bool = False


def main() -> None:
    """Do what the command line says."""
    options = tyro.cli(Options, description=__doc__)
    for file, named in tables().items():
        if options.write:
            file.write_text(with_tables(file.read_text(encoding="utf-8"), named), encoding="utf-8")
        else:
            sys.stdout.write(f"{file.relative_to(ROOT)}\n\n" + "\n\n".join(named.values()) + "\n\n")


if __name__ == "__main__":
    main()
