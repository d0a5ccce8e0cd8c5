"""Does a checkpoint still reach its numbers? Two gates, each with its own threshold.

    python -m ci.check danet-r101-cityscapes --weights ORG/NAME --data DIR
    python -m ci.check danet-r18-camvid --weights runs/danet-r18-camvid --data DIR --gate regression --json

**Regression**: weights that stand in measured.toml, by their sha256, must score what it says within 0.01 points: only
the code can have moved it. They are tested in the precision in which they were measured; where the device or the
release of torch is another one and the score is too, these may have moved it, and nothing is judged.

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

from ci.measured import MEASURED, Entry, changes, conditions, scores, value_of
from ci.rows import caveats
from core import datasets, files
from core.networks import configuration, repository
from core.paper import Paper
from core.recipe import Precision, Recipe
from core.values import differences, to_json
from hub.networks import ORIGIN
from papers import paper_of

ROOT = Path(__file__).parent.parent

Gate = Literal["regression", "reproduction"]
Verdict = Literal["holds", "falls short", "not judged"]
EXIT: dict[Verdict, int] = {"holds": 0, "falls short": 1, "not judged": 2}

REGRESSION = 0.01  # points of 100


@dataclass(frozen=True)
class Judgement:
    """What one gate says of one number: `wanted` and `found` in percent, `classes` found less `than` for each class."""

    gate: Gate
    verdict: Verdict
    sentence: str
    metric: str | None = None
    wanted: float | None = None
    found: float | None = None
    tolerance: float | None = None
    reason: str | None = None
    classes: dict[str, float] | None = None
    than: str | None = None


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
    return Report(options.recipe, options.weights, None, tuple(_unjudged(gates, sentence)))


def _check(options: Options, gates: Sequence[Gate]) -> Report:
    paper = paper_of(options.recipe)
    weights = described(options.weights)
    recipe = paper.recipes[options.recipe]
    known = [entry for entry in scores(options.measured) if entry["recipe"] == recipe.name]
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
            judgements += _unjudged(judged, str(error))
            judged = []
    if score is not None and (lacking := incomplete(recipe, score)):
        judgements += _unjudged(judged, lacking)
    elif score is not None:
        if "regression" in judged and entry is not None:
            judgements += regression(entry, score)
        if "reproduction" in judged:
            judgements += reproduction(recipe, score, known)
    silent = [gate for gate in gates if gate not in {one.gate for one in judgements}]
    judgements += _unjudged(silent, "nothing in measured.toml or in the recipe can be compared with this score")
    said = " ".join(caveats(recipe)) or None
    return Report(recipe.name, options.weights, weights.sha256, tuple(judgements), score, said)


def _unjudged(gates: Sequence[Gate], sentence: str) -> list[Judgement]:
    return [Judgement(gate, "not judged", sentence) for gate in gates]


def described(where: str) -> Weights:
    """Fetch a checkpoint and read what it says of itself.

    Raises:
        ValueError: if there is none, or it is damaged.
        OSError: if the Hub is out of reach.
    """
    folder = repository.fetch(where, [repository.CONFIG, repository.WEIGHTS])
    about = configuration.read(folder).get("about") or {}
    for name in ("recipe", "changed"):
        if not isinstance(about.get(name) or {}, dict):
            raise ValueError(
                f"{folder / repository.CONFIG} is damaged: about.{name} must be a table, got {about[name]!r}"
            )
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


def regression(entry: Entry, score: dict[str, Any]) -> list[Judgement]:
    """Compare a score with what was measured of the same weights."""
    if entry.get("images", score["images"]) != score["images"]:
        sentence = f"{entry['images']} images were measured, and {score['images']} were tested now"
        return _unjudged(["regression"], sentence)
    found = []
    elsewhere = [
        f"{name} {entry.get(name, 'that is not recorded')} then, {score[name]} now"
        for name in ("device", "torch")
        if entry.get(name) != score[name]
    ]
    for metric, value in (("mIoU", score["mean_iou"]), ("pixel accuracy", score["pixel_accuracy"])):
        wanted = value_of(entry, metric)
        if wanted is None:
            continue
        holds = abs(value - wanted) <= REGRESSION
        sentence = (
            f"{metric} {value:.3f}, measured {wanted:.3f} at {entry['commit']}: {value - wanted:+.3f}, at most "
            f"{REGRESSION} either way"
        )
        if not holds and elsewhere:
            found.append(Judgement("regression", "not judged", f"{sentence}; {', '.join(elsewhere)}", metric))
            continue
        found.append(
            Judgement(
                "regression",
                "holds" if holds else "falls short",
                sentence,
                metric,
                wanted,
                value,
                REGRESSION,
                "only the code can have moved it",
                class_differences(score, entry.get("per_class", {})),
                f"measured at {entry['commit']}",
            )
        )
    return found


def reproduction(recipe: Recipe[Any], score: dict[str, Any], known: Sequence[Entry]) -> list[Judgement]:
    """Compare a score with every number that a paper reports for this recipe.

    Classes are compared with the printed ones, or, where a paper prints none, with the last entry of `known` whose
    recipe was not changed.
    """
    found = []
    before = [entry for entry in known if entry.get("per_class") and not changes(entry)]
    for row in recipe.reported:
        value = score["mean_iou" if row.metric == "mIoU" else "pixel_accuracy"]
        holds = value >= row.value - row.tolerance.points
        sentence = (
            f"{row.metric} {value:.2f}, reported {row.value:.2f} ({row.paper}, {row.table}): {value - row.value:+.2f}, "
            f"at most {row.tolerance.points} below"
        )
        classes = dict(zip(printed_classes(list(score["iou"]), len(row.per_class)), row.per_class, strict=False))
        than = f"reported in {row.table}"
        if not classes and before:
            classes, than = before[-1]["per_class"], f"measured at {before[-1]['commit']}, of other weights"
        found.append(
            Judgement(
                "reproduction",
                "holds" if holds else "falls short",
                sentence,
                row.metric,
                row.value,
                value,
                row.tolerance.points,
                row.tolerance.reason,
                class_differences(score, classes),
                than,
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
    """The report as text; of each class, where a gate falls short, the difference, or else its IoU."""
    lines = [f"{report.recipe}, weights {report.weights} (sha256 {report.sha256 or 'unknown'})"]
    for judgement in report.judgements:
        lines.append(f"{judgement.gate}: {judgement.verdict}: {judgement.sentence}")
        if judgement.verdict == "falls short":
            if judgement.gate == "reproduction":
                lines.append(f"  tolerance {judgement.tolerance}: {judgement.reason}")
            lines += _table_of_classes(judgement, report.score or {})
    if report.note:
        lines.append(f"known of this row: {report.note}")
    return "\n".join([*lines, ""])


def _table_of_classes(judgement: Judgement, score: dict[str, Any]) -> list[str]:
    if judgement.classes:
        heading, values, sign = f"  IoU less that {judgement.than}:", judgement.classes, "+"
    else:
        found = {name: value for name, value in score.get("iou", {}).items() if value is not None}
        heading, values, sign = "  IoU; there is none to compare with:", found, ""
    width = max(map(len, values), default=0)
    worst = sorted(values.items(), key=lambda item: item[1])
    return [heading, *(f"  {name:<{width}} {value:{sign}8.2f}" for name, value in worst)]


def main(arguments: list[str] | None = None) -> int:
    """Judge what the command line names, print the report, and return the exit code."""
    options = tyro.cli(Options, description=__doc__, args=arguments)
    report = check(options)
    content = {**asdict(report), "exit": report.exit}
    sys.stdout.write(json.dumps(content, indent=2) + "\n" if options.json else printed(report))
    return report.exit


if __name__ == "__main__":
    sys.exit(main())
