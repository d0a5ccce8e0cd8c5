"""The reported rows of all papers beside what was measured, from the recipes and from measured.toml.

    python -m ci.rows                prints them: recipe, where, protocol, metric, reported, measured
    python -m ci.rows --markdown     writes the tables of the READMEs, between the marks `<!-- NAME -->` and
                                     `<!-- end of NAME -->`; says which files changed

The tests fail where a table is not what it would write.
"""

import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import tyro

import papers
from ci import learning
from ci.measured import Entry, changes, hours, scores, value_of
from core import datasets
from core.command import FITS
from core.datasets import servers
from core.paper import Paper
from core.recipe import Recipe, Reported
from hub.markdown import table

ROOT = Path(__file__).parent.parent
COUNTED = (
    "GPU memory at the batch of the recipe on one GPU, counted by `python -m ci.costs` from what autograd keeps; on "
    "one H200, 18 trainings of eight recipes took from 9 % less to 13 % more (ci/bench/README.md). GPUs that fit: a "
    "number of GPUs that share the batch, and the size of each, in float32. Hours are those of one H200 with bf16, "
    "where the speed was measured."
)
SERVER = "The labels of this split are not public: only the test server of the data set can measure it."


@dataclass(frozen=True)
class Row:
    """One line of a table, as text. A recipe of ours has a row without a reported number."""

    recipe: str
    what: str
    where: str
    protocol: str
    metric: str
    reported: str
    measured: str

    def cells(self) -> tuple[str, ...]:
        """The columns of the README's tables."""
        return f"`{self.recipe}`", self.what, self.where, self.protocol, self.metric, self.reported, self.measured


HEADINGS = ("recipe", "what", "where", "protocol", "metric", "reported", "measured")


def rows(recipes: Mapping[str, Recipe[Any]], entries: Sequence[Entry]) -> Iterator[Row]:
    """A row for each number that the recipes report, and for each recipe that reports none."""
    for name, recipe in recipes.items():
        for row in recipe.reported or (None,):
            metric = row.metric if row else "mIoU"
            yield Row(
                name,
                recipe.summary,
                f"{row.table}, {row.split}" if row else recipe.data.test,
                recipe.protocol.in_words(),
                metric,
                f"{row.value:.2f}" if row else "none",
                "; ".join(filter(None, (latest(name, metric, entries), briefly(recipe)))),
            )


def latest(name: str, metric: str, entries: Sequence[Entry]) -> str:
    """The value measured at the latest commit that measured this recipe: its mean and range, if of several seeds.

    A changed recipe is another row, and does not count. On a CPU the number of threads moves the value, and is said.
    """
    found = [entry for entry in entries if entry["recipe"] == name and not changes(entry)]
    values = [value_of(entry, metric) for entry in found if entry["commit"] == found[-1]["commit"]]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        threads = re.findall(r"\d+ threads?\b", found[-1]["hardware"]) if found else []
        return "".join(f"{value:.2f}" for value in known) + "".join(f" ({number})" for number in threads)
    return _of_seeds(known, f", {len(known)} seeds")


def briefly(recipe: Recipe[Any], file: Path = learning.RECORDED) -> str:
    """What `ci.learning` has recorded of a recipe: seeds of trainings by one thread, shorter than its own."""
    values = list(learning.recorded(recipe.name, file).values()) if datasets.is_drawn(recipe.data.name) else []
    if not values:
        return ""
    length = f"{learning.epochs(recipe.name)} of {recipe.optimisation.length} epochs, 1 thread"
    return _of_seeds(values, f", {len(values)} seeds of {length}")


def gained(paper: Paper, file: Path = learning.RECORDED) -> list[str]:
    """A sentence for each pair of networks on embedded pictures: by how much the paper's modules raise the mIoU."""
    sentences = []
    for network, baseline in learning.ladders([paper]):
        values = learning.gains((network, baseline), file)
        if values:
            more = (
                "more than the seeds differ" if learning.helps(values) else "which is within what the seeds differ by"
            )
            each = f"{statistics.mean(values):+.2f} ({min(values):+.2f} to {max(values):+.2f}, {len(values)} seeds)"
            sentences.append(f"`{network}` less `{baseline}`: {each}, {more}.")
    return sentences


def _of_seeds(values: Sequence[float], more: str = "") -> str:
    """Mean and range."""
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f}{more})"


def results(paper: Paper, entries: Sequence[Entry]) -> str:
    """The rows that were measured, those that were not, and what must be known of them."""
    found = list(rows(paper.recipes, entries))
    measured = table(HEADINGS, [row.cells() for row in found if row.measured])
    reported = table(HEADINGS[:-1], [row.cells()[:-1] for row in found if not row.measured])
    return "\n\n".join([measured, *gained(paper), "Not trained here yet:", reported, *notes(paper.recipes)])


def notes(recipes: Mapping[str, Recipe[Any]]) -> list[str]:
    """A paragraph for each thing that must be known, with the recipes of which it must."""
    about: dict[str, list[str]] = {}
    for name, recipe in recipes.items():
        for sentence in caveats(recipe):
            about.setdefault(sentence, []).append(f"`{name}`")
    return [f"{', '.join(names)}: {sentence}" for sentence, names in about.items()]


def caveats(recipe: Recipe[Any]) -> list[str]:
    """What a reader of a reported number must know."""
    said = list(dict.fromkeys(row.caveat for row in recipe.reported if row.caveat is not None))
    if recipe.reported and datasets.find(recipe.data.name).server and recipe.data.test == servers.TEST:
        said.append(SERVER)
    return said


def needs(paper: Paper) -> str:
    """What training takes of a GPU: a line for the recipes that take the same."""
    costs, lines = paper.costs, dict[tuple[str, ...], list[str]]()
    for name, recipe in paper.recipes.items():
        if name not in costs:
            continue
        cost, batch, crop = costs[name], recipe.optimisation.batch, recipe.augmentation.crop
        fit = ", ".join(f"{number} x {card}" for number, card in cost.gpus(batch)) or "more than 8"
        cells = (
            "whole images" if crop is None else str(crop),
            str(batch),
            f"{cost.memory(batch):.1f}",
            f"{cost.memory(batch, bf16=True):.1f}",
            fit,
            "" if cost.hours is None else f"{cost.hours:g}",
        )
        lines.setdefault(cells, []).append(f"`{name}`")
    headings = ("recipes", "crop", "batch", "GiB, float32", "GiB, bf16", "GPUs that fit, GiB", "hours")
    together = [(", ".join(names), *cells) for cells, names in lines.items()]
    return "\n\n".join([COUNTED, table(headings, together), FITS])


def circumstances(recipes: Mapping[str, Recipe[Any]], entries: Sequence[Entry]) -> str:
    """How each measured score of these recipes came about, seeds of one command in one row.

    What is said of several stands once, under a number.
    """
    own = [entry for entry in entries if entry["recipe"] in recipes]
    headings = ("recipe", "seed", "mIoU", "pixel accuracy", "command", "commit", "hardware", "time", "date", "remarks")
    said = {sentence: str(number) for number, sentence in enumerate(dict.fromkeys(chain(*map(remarks, own))), 1)}
    together: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for entry in own:
        name = f"`{entry['recipe']}`" + (", changed" if changes(entry) else "")
        command = re.sub(r"(?<=--run\.seed )\d+", "SEED", entry["command"])
        numbers = ", ".join(sorted((said[sentence] for sentence in remarks(entry)), key=int))
        alike = (name, f"`{command}`", entry["commit"], entry["hardware"], entry["date"], numbers)
        values = (f"{value_of(entry, metric):.2f}" for metric in ("mIoU", "pixel accuracy"))
        together.setdefault(alike, []).append((str(entry["seed"]), *values, spent(hours(entry))))
    lines = []
    for (name, command, commit, hardware, date, numbers), cells in together.items():
        *results, times = map(", ".join, zip(*cells, strict=True))
        lines.append((name, *results, command, commit, hardware, times, date, numbers))
    numbered = [f"{number}. {sentence}" for sentence, number in said.items()]
    return "\n\n".join([table(headings, lines), *(["\n".join(numbered)] if numbered else [])])


def remarks(entry: Entry) -> list[str]:
    """What is said of a score, sentence by sentence, and what was changed."""
    sentences = re.split(r"(?<=\.) (?=[A-Z])", entry.get("note", ""))
    changed = [f"Changed: {'; '.join(changes(entry))}."] if changes(entry) else []
    return [sentence for sentence in sentences if sentence] + changed


def spent(time: float) -> str:
    """Hours in the unit that suits them."""
    return f"{60 * time:.0f} min" if time < 2 else f"{time:.0f} h"


def tables() -> dict[Path, dict[str, str]]:
    """The tables of each README: file -> name of the mark -> text."""
    entries = scores()
    files = {ROOT / "README.md": {"results": first_page(entries), "learning": on_embedded_pictures()}}
    for paper in papers.every():
        files[ROOT / "papers" / paper.folder / "README.md"] = {
            "results": results(paper, entries),
            "measured": circumstances(paper.recipes, entries),
            "costs": needs(paper),
        }
    return files


def first_page(entries: Sequence[Entry]) -> str:
    """A line for each paper: its best row whose labels are public, and its ladder on photographs."""
    lines = []
    for paper in papers.every():
        known = [
            (row.value, name)
            for name, recipe in paper.recipes.items()
            for row in recipe.reported
            if _public(paper, recipe, row)
        ]
        value, best = max(known, key=lambda pair: pair[0], default=(None, None))  # the first of equal ones
        pairs = [pair for pair in paper.ladders if not datasets.is_drawn(pair[0].data.name)]
        ladder = [latest(recipe.name, "mIoU", entries) for pair in pairs for recipe in pair]
        row = ("none", "", "")
        if value is not None and best is not None:
            row = (f"`{best}`", f"{value:.2f}", latest(best, "mIoU", entries) or "not trained here")
        lines.append((paper.name, *row, *ladder))
    best_row = ("best row with public labels", "reported", "measured")
    return table(("paper", *best_row, "CamVid, measured", "without its modules"), lines)


def on_embedded_pictures(file: Path = learning.RECORDED) -> str:
    """A line for each paper: its network on embedded pictures beside the same one without its modules."""
    lines = []
    for paper in papers.every():
        cells = []
        for recipe in (recipe for ladder in learning.ladders([paper]) for recipe in ladder):
            values = list(learning.recorded(recipe, file).values())
            cells.append(_of_seeds(values) if values else "")
        lines.append((paper.name, *cells))
    headings = ("paper", "scenes", "without its modules", "context", "without its modules")
    return table(headings, lines)


def _public(paper: Paper, recipe: Recipe[Any], row: Reported) -> bool:
    """Return True if a reported mean IoU is the paper's own and anyone can measure it."""
    return row.metric == "mIoU" and row.table not in paper.ablations and SERVER not in caveats(recipe)


def with_tables(text: str, named: dict[str, str]) -> str:
    """The text with its marked tables replaced.

    Raises:
        ValueError: if a mark is missing.
    """
    for name, content in named.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        found = re.search(f"{re.escape(start)}\n.*?{re.escape(end)}", text, re.DOTALL)
        if found is None:
            raise ValueError(f"there is no place for the table {name!r}; add the lines {start} and {end}")
        text = f"{text[: found.start()]}{start}\n{content}\n{end}{text[found.end() :]}"
    return text


def listing() -> str:
    """All rows of all papers in aligned columns, and below each paper what must be known."""
    entries = scores()
    lines = []
    for paper in papers.every():
        columns = ("recipe", "where", "protocol", "metric", "reported", "measured")
        cells = [columns, *([getattr(row, column) for column in columns] for row in rows(paper.recipes, entries))]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += [paper.folder, ""]
        lines += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
        lines += ["", *notes(paper.recipes), ""]
    return "\n".join(lines)


@dataclass(frozen=True)
class Options:
    """Print the rows, or write them into the READMEs."""

    markdown: bool = False


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    if not options.markdown:
        sys.stdout.write(listing())
        return
    for file, named in tables().items():
        before = file.read_text(encoding="utf-8")
        after = with_tables(before, named)
        if after != before:
            file.write_text(after, encoding="utf-8")
            sys.stdout.write(f"wrote {file.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
