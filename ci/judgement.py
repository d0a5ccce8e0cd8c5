"""What the gates of `ci.check` say of a score: held against what was measured before, and against what is reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ci.measured import Entry, changes, value_of
from core.recipe import Recipe

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


def unjudged(gates: Sequence[Gate], sentence: str) -> list[Judgement]:
    """What is said of gates that can't be judged, and why."""
    return [Judgement(gate, "not judged", sentence) for gate in gates]


def regression(entry: Entry, score: dict[str, Any]) -> list[Judgement]:
    """Compare a score with what was measured of the same weights."""
    if entry.get("images", score["images"]) != score["images"]:
        sentence = f"{entry['images']} images were measured, and {score['images']} were tested now"
        return unjudged(["regression"], sentence)
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
