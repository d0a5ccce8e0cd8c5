"""The curves of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def curves(metrics: Sequence[Mapping[str, Any]], path: Path | str) -> None:
    """Draw a training run from the lines of its `metrics.jsonl`; the ending of `path` decides the format.

    A training line has "step", "loss", "learning_rate", and may have "terms", "scalars" and "observed", all
    {name: value}; a validation line has "step" and "validation" with "mean_iou" in percent. Of two lines for one step,
    as a resumed run may write, the later counts. Validation, learned scalars and what the network observed of itself
    get a panel where there are any.

    Raises:
        ValueError: if there is no training line.
    """
    training = {line["step"]: line for line in metrics if "loss" in line}
    validation = {line["step"]: line["validation"] for line in metrics if "validation" in line}
    if not training:
        raise ValueError(f"nothing to draw for {path}: no line has a loss; the run has not logged a step yet")
    panels: list[tuple[str, Series]] = [("loss", {"": [(step, line["loss"]) for step, line in training.items()]})]
    terms = _series(training, "terms")
    if len(terms) > 1:  # as shares: terms that fall together would lie on each other
        panels.append(("share of the loss (%)", _shares(terms, training)))
    panels.append(("learning rate", {"": [(step, line["learning_rate"]) for step, line in training.items()]}))
    if validation:
        panels.append(("validation mIoU (%)", {"": [(step, value["mean_iou"]) for step, value in validation.items()]}))
    if scalars := _series(training, "scalars"):
        panels.append(("learned scalars", scalars))
    if observed := _series(training, "observed"):
        panels.append((next(iter(observed)) if len(observed) == 1 else "observed", observed))

    figure = Figure(figsize=(8, 2.4 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (title, series) in zip(axes, panels, strict=True):
        _panel(axis, title, series)
    axes[-1].set_xlabel("step (parameter updates)")
    axes[-1].set_xlim(left=0)
    figure.align_ylabels(list(axes))
    figure.savefig(path)


Series = dict[str, list[tuple[int, float]]]


def _series(lines: Mapping[int, Mapping[str, Any]], group: str) -> Series:
    """Collect (step, value) of each name in a group of values."""
    series: Series = {}
    for step, line in lines.items():
        for name, value in line.get(group, {}).items():
            series.setdefault(name, []).append((step, value))
    return series


def _shares(terms: Series, lines: Mapping[int, Mapping[str, Any]]) -> Series:
    """Each term in percent of its step's loss."""
    return {
        name: [(step, 100 * value / lines[step]["loss"]) for step, value in points if lines[step]["loss"]]
        for name, points in terms.items()
    }


def _panel(axis: Axes, title: str, series: Series) -> None:
    """Draw lines by name, with a legend if there is more than one; few points get markers."""
    for number, (name, points) in enumerate(series.items()):
        steps, values = zip(*sorted(points), strict=True)
        axis.plot(
            steps,
            values,
            label=name,
            color=f"C{number}",
            linewidth=1.2,
            marker="o" if len(steps) <= 30 else "",
            markersize=4,
        )
    axis.set_ylabel(title)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
