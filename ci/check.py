"""Does a checkpoint still reach its numbers? Two gates, each with its own threshold.

    python -m ci.check danet-r101-cityscapes --weights ORG/NAME --data DIR
    python -m ci.check danet-r18-camvid --weights runs/danet-r18-camvid --data DIR --gate regression --json

**Regression**: weights that stand in measured.toml, by their sha256, must score what it says within 0.01 points: only
the code can have moved it. They are tested in the precision in which they were measured.

**Reproduction**: weights that the published recipe trained, or public weights that `hub.convert` converted for it, must
reach what the row reports, less a tolerance that is written for each row with its reason (ci/tolerances.py).

The exit code is 0 if every gate that was asked for holds, 1 if one falls short, with the differences of each class, and
2 if one could not be judged: no data, no weights, a changed recipe, nothing to compare with. It is never 0 by absence.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ci.measured import MEASURED, Entry, scores, sha256, value_of
from ci.notes import note
from ci.tolerances import DEFAULT, TOLERANCES
from core import checkpoint, repository
from core.recipe import Precision, Recipe, differences, to_json
from hub.networks import ORIGIN, Paper, paper_of

ROOT = Path(__file__).parent.parent

Gate = Literal["regression", "reproduction"]
Verdict = Literal["holds", "falls short", "not judged"]
EXIT: dict[Verdict, int] = {"holds": 0, "falls short": 1, "not judged": 2}

REGRESSION = 0.01  # points of 100


@dataclass(frozen=True)
class Judgement:
    """What one gate says of one number: `wanted` and `found` in percent, `classes` found less wanted for each class."""

    gate: Gate
    verdict: Verdict
    sentence: str
    metric: str | None = None
    wanted: float | None = None
    found: float | None = None
    tolerance: float | None = None
    reason: str | None = None
    classes: dict[str, float] | None = None


@dataclass(frozen=True)
class Report:
    """Everything that is known of a checkpoint after a check."""

    recipe: str
    weights: str
    sha256: str | None
    judgements: tuple[Judgement, ...]
    score: dict[str, Any] | None = None
    note: str | None = None

    @property
    def exit(self) -> int:
        """1 if a gate falls short, else 2 if one was not judged or there is none, else 0."""
        codes = {EXIT[judgement.verdict] for judgement in self.judgements}
        return 1 if 1 in codes else 2 if 2 in codes or not codes else 0


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
    weights: Annotated[str, tyro.conf.arg(help="run folder or org/name on the Hub")]
    data: Annotated[Path | None, tyro.conf.arg(help="folder of the data set")] = None
    gate: Annotated[Literal["both", "regression", "reproduction"], tyro.conf.arg(help="which must hold")] = "both"
    precision: Annotated[Precision | None, tyro.conf.arg(help="None: as measured, else fp32")] = None
    workers: int = 2
    json: Annotated[bool, tyro.conf.arg(help="print the report as JSON")] = False
    measured: Annotated[Path, tyro.conf.arg(help="the changelog of results")] = MEASURED


def check(options: Options) -> Report:
    """Test the weights and judge them; what keeps them from being judged is said in the report."""
    gates: tuple[Gate, ...] = ("regression", "reproduction") if options.gate == "both" else (options.gate,)
    try:
        paper = paper_of(options.recipe)
        weights = described(options.weights)
    except (ValueError, OSError) as error:
        return Report(options.recipe, options.weights, None, _unjudged(gates, str(error)))
    recipe = paper.recipes[options.recipe]
    said = note(recipe.name, recipe.data.name, recipe.data.test)
    entry = measured_before(recipe.name, weights.sha256, scores(options.measured))

    refusals: dict[Gate, str | None] = {
        "regression": None if entry else "measured.toml has no score of these weights for this recipe",
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
            judgements += _unjudged(judged, str(error))
            judged = []
    if score is not None:
        if "regression" in judged and entry is not None:
            judgements += regression(entry, score)
        if "reproduction" in judged:
            judgements += reproduction(recipe, score)
    return Report(recipe.name, options.weights, weights.sha256, tuple(judgements), score, said)


def _unjudged(gates: Sequence[Gate], sentence: str) -> tuple[Judgement, ...]:
    return tuple(Judgement(gate, "not judged", sentence) for gate in gates)


def described(where: str) -> Weights:
    """Fetch a checkpoint and read what it says of itself.

    Raises:
        ValueError: if there is none, or it is damaged.
        OSError: if the Hub is out of reach.
    """
    folder = repository.fetch(where, [repository.CONFIG, repository.WEIGHTS])
    about = repository.read_config(folder).get("about") or {}
    return Weights(str(folder), sha256(folder / repository.WEIGHTS), about)


def measured_before(recipe: str, weights: str, entries: Sequence[Entry]) -> Entry | None:
    """The latest score of these weights by this recipe."""
    found = [entry for entry in entries if entry["recipe"] == recipe and entry.get("weights") == weights]
    return found[-1] if found else None


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
    fields = ("architecture", "augmentation", "optimisation", "backbone_weights", "starts_from")
    moved = differences(
        {**{name: published[name] for name in fields}, "train": published["data"]["train"]},
        {**{name: trained.get(name) for name in fields}, "train": (trained.get("data") or {}).get("train")},
    )
    return f"the recipe has changed since these weights were trained: {moved}" if moved else None


def tested(
    paper: Paper, recipe: str, weights: Weights, data: Path | None, precision: str, workers: int
) -> dict[str, Any]:
    """Run the paper's evaluate.py and return what it wrote.

    Raises:
        ValueError: with its message, if it could not test.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "score.json"
        words = [sys.executable, str(ROOT / "papers" / paper.folder / "evaluate.py"), recipe]
        words += ["--weights", weights.where, "--to", str(file), "--precision", precision, "--workers", str(workers)]
        words += ["--data", str(data)] if data is not None else []
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        score = checkpoint.read_json(file)
    if done.returncode or score is None:
        lines = done.stderr.strip().splitlines() or [f"evaluate.py ended with status {done.returncode} and no message"]
        raise ValueError(lines[-1].removeprefix("error: "))
    return dict(score)


def regression(entry: Entry, score: dict[str, Any]) -> list[Judgement]:
    """Compare a score with what was measured of the same weights."""
    found = []
    for metric, value in (("mIoU", score["mean_iou"]), ("pixel accuracy", score["pixel_accuracy"])):
        wanted = value_of(entry, metric)
        if wanted is None:
            continue
        holds = abs(value - wanted) <= REGRESSION
        sentence = (
            f"{metric} {value:.3f}, measured {wanted:.3f} at {entry['commit']}: {value - wanted:+.3f}, at most "
            f"{REGRESSION} either way"
        )
        verdict: Verdict = "holds" if holds else "falls short"
        classes = class_differences(score, entry.get("per_class", {}))
        reason = "only the code can have moved it"
        found.append(Judgement("regression", verdict, sentence, metric, wanted, value, REGRESSION, reason, classes))
    return found


def reproduction(recipe: Recipe[Any], score: dict[str, Any]) -> list[Judgement]:
    """Compare a score with every number that a paper reports for this recipe."""
    found = []
    tolerance = TOLERANCES.get(recipe.name, DEFAULT)
    for row in recipe.reported:
        value = score["mean_iou" if row.metric == "mIoU" else "pixel_accuracy"]
        holds = value >= row.value - tolerance.points
        sentence = (
            f"{row.metric} {value:.2f}, reported {row.value:.2f} ({row.paper}, {row.table}): {value - row.value:+.2f}, "
            f"at most {tolerance.points} below"
        )
        printed = dict(zip(printed_classes(list(score["iou"]), len(row.per_class)), row.per_class, strict=False))
        found.append(
            Judgement(
                "reproduction",
                "holds" if holds else "falls short",
                sentence,
                row.metric,
                row.value,
                value,
                tolerance.points,
                tolerance.reason,
                class_differences(score, printed),
            )
        )
    return found


def printed_classes(names: Sequence[str], number: int) -> Sequence[str]:
    """The classes of the numbers that a paper prints: all, or for VOC the first ones behind the background."""
    return names if number == len(names) else names[1 : 1 + number] if names[0] == "background" else []


def class_differences(score: dict[str, Any], wanted: dict[str, float]) -> dict[str, float] | None:
    """The IoU of each class less the wanted one, in points; None where no value of a class is known."""
    both = {name: (value, wanted[name]) for name, value in score["iou"].items() if name in wanted and value is not None}
    return {name: value - old for name, (value, old) in both.items()} or None


def printed(report: Report) -> str:
    """The report as text; the differences of each class where a gate falls short."""
    lines = [f"{report.recipe}, weights {report.weights} (sha256 {report.sha256 or 'unknown'})"]
    for judgement in report.judgements:
        lines.append(f"{judgement.gate}: {judgement.verdict}: {judgement.sentence}")
        if judgement.verdict == "falls short":
            if judgement.gate == "reproduction":
                lines.append(f"  tolerance {judgement.tolerance}: {judgement.reason}")
            width = max(map(len, judgement.classes or {"": 0}))
            worst = sorted((judgement.classes or {}).items(), key=lambda item: item[1])
            lines += [f"  {name:<{width}} {difference:+8.2f}" for name, difference in worst]
    if report.note:
        lines.append(f"known of this row: {report.note}")
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> int:
    """Judge what the command line names, print the report, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    report = check(options)
    content = {**asdict(report), "exit": report.exit}
    sys.stdout.write(json.dumps(content, indent=2) + "\n" if options.json else printed(report))
    return report.exit


if __name__ == "__main__":
    sys.exit(main())
