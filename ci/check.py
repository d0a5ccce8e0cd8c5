"""Does a checkpoint still reach its numbers? Two gates, each with its own threshold.

    python -m ci.check danet-r101-cityscapes --weights ORG/NAME --data DIR
    python -m ci.check danet-r18-camvid --weights runs/danet-r18-camvid --data DIR --gate regression --json

**Regression**: weights that stand in measured.toml, by their sha256, and those of the bundled networks must score what
was measured of them within 0.01 points: only the code can have moved it. They are tested in the precision in which they
were measured; where the device or the release of torch is another one and the score is too, these may have moved it,
and nothing is judged.

**Reproduction**: weights that the published recipe trained, or public weights that `hub.convert` converted for it, must
reach what the row reports, less the row's tolerance, which has a reason.

The exit code is 0 if every gate that was asked for holds, 1 if one falls short, with the differences of each class, and
2 if one could not be judged: no data or only a part, no weights, a changed recipe, nothing to compare with, or any
error. It is never 0 by absence.
"""

import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ci.judgement import Gate, Judgement, Report, printed, regression, reproduction, unjudged
from ci.measured import MEASURED, Entry, changes, conditions, of_shipped, scores
from ci.rows import caveats
from core import datasets, files
from core.errors import require
from core.networks import configuration, repository
from core.paper import Paper
from core.recipe import Precision, Recipe
from core.run import WHERE
from core.values import differences, to_json
from hub.networks import ORIGIN
from papers import paper_of

ROOT = Path(__file__).parent.parent
Gates = Literal["both", "regression", "reproduction"]


@dataclass(frozen=True)
class Weights:
    """A checkpoint as its files describe it."""

    where: str
    sha256: str
    about: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What to judge, by which gates."""

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(help="the row")]
    weights: Annotated[str, tyro.conf.arg(help=WHERE)]
    data: Annotated[Path | None, tyro.conf.arg(help="folder of the data set")] = None
    gate: Annotated[Gates, tyro.conf.arg(help="which must hold")] = "both"
    precision: Annotated[Precision | None, tyro.conf.arg(help="None: as measured, else fp32")] = None
    workers: Annotated[int | None, tyro.conf.arg(help="processes that load images; None: by the machine")] = None
    json: Annotated[bool, tyro.conf.arg(help="print the report as JSON")] = False
    measured: Annotated[Path, tyro.conf.arg(help="the changelog of results")] = MEASURED


def check(options: Options) -> Report:
    """Test the weights and judge them; what keeps them from being judged, any error too, is said in the report."""
    gates: tuple[Gate, ...] = ("regression", "reproduction") if options.gate == "both" else (options.gate,)
    try:
        return _check(options, gates)
    except (ValueError, OSError) as error:
        sentence = str(error)
    except Exception as error:  # an exit code of 1 would say that the weights fall short
        traceback.print_exc()
        sentence = f"{type(error).__name__}: {error}"
    return Report(options.recipe, options.weights, None, tuple(unjudged(gates, sentence)))


def _check(options: Options, gates: Sequence[Gate]) -> Report:
    paper = paper_of(options.recipe)
    weights = described(options.weights)
    recipe = paper.recipes[options.recipe]
    known = [entry for entry in [*of_shipped(), *scores(options.measured)] if entry["recipe"] == recipe.name]
    entry = measured_before(weights.sha256, known)

    refusals: dict[Gate, str | None] = {
        "regression": incomparable(recipe, entry, options.precision),
        "reproduction": untrained(paper, recipe, weights),
    }
    judged = [gate for gate in gates if refusals[gate] is None]
    judgements = [Judgement(gate, "not judged", sentence) for gate in gates if (sentence := refusals[gate])]
    score = None
    if judged:
        precision = options.precision or (entry or {}).get("precision", "fp32")
        try:
            score = tested(paper, recipe.name, weights, options.data, precision, options.workers)
        except ValueError as error:
            judgements += unjudged(judged, str(error))
            judged = []
    if score is not None and (lacking := incomplete(recipe, score)):
        judgements += unjudged(judged, lacking)
    elif score is not None:
        if "regression" in judged and entry is not None:
            judgements += regression(entry, score)
        if "reproduction" in judged:
            judgements += reproduction(recipe, score, known)
    silent = [gate for gate in gates if gate not in {one.gate for one in judgements}]
    judgements += unjudged(silent, "nothing in measured.toml or in the recipe can be compared with this score")
    said = " ".join(caveats(recipe)) or None
    return Report(recipe.name, options.weights, weights.sha256, tuple(judgements), score, said)


def described(where: str) -> Weights:
    """Fetch a checkpoint and read what it says of itself.

    Raises:
        ValueError: if there is none, or it is damaged.
        OSError: if the Hub is out of reach.
    """
    folder = repository.fetch(where, [repository.CONFIG, repository.WEIGHTS])
    about = configuration.read(folder).get("about") or {}
    for name in ("recipe", "changed"):
        damaged = f"{folder / repository.CONFIG} is damaged: about.{name} must be a table, got {about.get(name)!r}"
        require(isinstance(about.get(name) or {}, dict), damaged)
    return Weights(str(folder), files.sha256(folder / repository.WEIGHTS), about)


def measured_before(weights: str, entries: Sequence[Entry]) -> Entry | None:
    """The latest of the entries that is about these weights, tested as the row says if any was."""
    found = [entry for entry in entries if entry.get("weights") == weights]
    as_the_row = [entry for entry in found if not tested_otherwise(entry)]
    best = as_the_row or found
    return best[-1] if best else None


def tested_otherwise(entry: Entry) -> list[str]:
    """The changes of an entry that make its test another one than the row's."""
    return [change for change in changes(entry) if change.startswith(("protocol.", "data."))]


def incomparable(recipe: Recipe[Any], entry: Entry | None, precision: Precision | None) -> str | None:
    """Why the recipe's test of today is not the one that an entry tells of; None if it is."""
    if entry is None:
        return "measured.toml has no score of these weights for this recipe"
    if otherwise := tested_otherwise(entry):
        return f"these weights were measured by another test than the recipe's: {'; '.join(otherwise)}"
    if "protocol" in entry:
        then, now = conditions(entry["split"], entry["protocol"]), conditions(recipe.data.test, recipe.protocol)
        if moved := differences(then, now):
            return f"the test of the recipe has changed since these weights were measured: {moved}"
    if precision is not None and precision != entry.get("precision", precision):
        return f"these weights were measured in {entry['precision']}; leave out --precision {precision}"
    return None


def incomplete(recipe: Recipe[Any], score: dict[str, Any]) -> str | None:
    """Why a score is not one of the whole split, as far as the number of its images is published; None if it is."""
    counts = datasets.find(recipe.data.name).counts.get(recipe.data.test, ())
    if not counts or score["images"] in counts:
        return None
    return (
        f"{score['images']} images of {recipe.data.name}, {recipe.data.test}, were tested, but it has "
        f"{' or '.join(map(str, counts))}; complete the copy (python -m core.datasets check {recipe.data.name} DIR)"
    )


def untrained(paper: Paper, recipe: Recipe[Any], weights: Weights) -> str | None:
    """Why weights cannot stand for a reported row; None if its published recipe trained them, here or where public
    weights were trained that `hub.convert` converted for it.
    """
    if not recipe.reported:
        return "no paper reports this row"
    trained = weights.about.get("recipe") or {}
    lender = paper.recipes[recipe.same_weights_as or recipe.name]
    if trained.get("name") != lender.name:
        return f"these weights were trained by {trained.get('name', 'an unknown recipe')}, not by {lender.name}"
    changed = {field: values for field, values in (weights.about.get("changed") or {}).items() if field != ORIGIN}
    if changed:
        return f"the recipe was changed for these weights: {changed}"
    published = to_json(lender)
    if trained.get("backbone_weights") in lender.also_weights:
        published["backbone_weights"] = trained["backbone_weights"]
    fields = ("architecture", "augmentation", "optimisation", "backbone_weights", "starts_from")
    moved = differences(_chosen(published, fields), _chosen(trained, fields))
    return f"the recipe has changed since these weights were trained: {moved}" if moved else None


def _chosen(recipe: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Fields of a recipe as JSON, and of its data those that weights depend on."""
    data = recipe.get("data") or {}
    of_data = {name: data.get(name) for name in ("name", "num_classes", "train")}
    return {**{name: recipe.get(name) for name in fields}, "data": of_data}


def tested(
    paper: Paper, recipe: str, weights: Weights, data: Path | None, precision: str, workers: int | None
) -> dict[str, Any]:
    """Run the paper's evaluate.py and return what it wrote.

    Raises:
        ValueError: with its message, if it could not test.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "score.json"
        words = [sys.executable, str(ROOT / "papers" / paper.folder / "evaluate.py"), recipe]
        words += ["--weights", weights.where, "--to", str(file), "--precision", precision]
        words += ["--workers", str(workers)] if workers is not None else []
        words += ["--data", str(data)] if data is not None else []
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        score = files.read_json(file)
    if done.returncode or score is None:
        lines = done.stderr.strip().splitlines() or [f"evaluate.py ended with status {done.returncode} and no message"]
        raise ValueError(lines[-1].removeprefix("error: "))
    return dict(score)


def main(arguments: list[str] | None = None) -> int:
    """Judge what the command line names, print the report, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    report = check(options)
    content = {**asdict(report), "exit": report.exit}
    sys.stdout.write(json.dumps(content, indent=2) + "\n" if options.json else printed(report))
    return report.exit


if __name__ == "__main__":
    sys.exit(main())
