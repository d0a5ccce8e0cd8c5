"""Counting pixels: a confusion matrix, and the numbers that papers print from it.

    counts    k k    pixels of class `row` that were taken for class `column`
    IoU       counts[i, i] / (sum of row i + sum of column i - counts[i, i])
    mIoU      the mean IoU of the classes that occur in the labels or in the predictions

Counts are added over all images of a data set before anything is divided.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import reduce
from jaxtyping import Int64, Integer
from torch import Tensor

from core.images.classes import IGNORE, Classes


def confusion(
    labels: Integer[Tensor, "*size"], prediction: Integer[Tensor, "*size"], num_classes: int
) -> Int64[Tensor, "k k"]:
    """Count the pixels of every (label, predicted class) on the device of the labels; 255 in the labels is skipped.

    Predictions at skipped pixels are not looked at.

    Raises:
        ValueError: if the sizes differ, or another label or prediction is not in 0 .. num_classes - 1.
    """
    if labels.shape != prediction.shape:
        raise ValueError(
            f"labels and prediction must have one size, got {tuple(labels.shape)} and {tuple(prediction.shape)}"
        )
    counted = labels != IGNORE
    rows, columns = labels[counted].long(), prediction[counted].long()
    for name, values in (("label", rows), ("prediction", columns)):
        outside = values[(values < 0) | (values >= num_classes)]
        if len(outside):
            allowed = f"0 to {num_classes - 1}" + (f", or {IGNORE} to be ignored" if name == "label" else "")
            raise ValueError(f"with {num_classes} classes a {name} must be {allowed}, got {int(outside[0])}")
    return torch.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True, eq=False)
class Score:
    """How well a data set was segmented: its confusion matrix (rows: labels, columns: predictions) and what follows.

    Properties are fractions from 0 to 1; `table` and `to_json` are in percent.

    Raises:
        ValueError: if the matrix is not int64 with a row and a column for each class, or no pixel was counted.
    """

    classes: Classes
    confusion: Int64[Tensor, "k k"]

    def __post_init__(self) -> None:
        size = (len(self.classes), len(self.classes))
        if tuple(self.confusion.shape) != size or self.confusion.dtype != torch.int64:
            raise ValueError(
                f"{size[0]} classes need int64 counts of size {size}, "
                f"got {self.confusion.dtype} of size {tuple(self.confusion.shape)}"
            )
        if not self.pixels:
            raise ValueError(f"no pixel was counted, so there is no score; is every label {IGNORE}, which is ignored?")

    @property
    def pixels(self) -> int:
        """How many pixels were counted, over all images."""
        return int(self.confusion.sum())

    @property
    def iou(self) -> tuple[float | None, ...]:
        """Intersection over union of each class; None where neither labels nor predictions contain it."""
        right = self.confusion.diagonal()
        union = reduce(self.confusion, "row column -> row", "sum") + reduce(
            self.confusion, "row column -> column", "sum"
        )
        pairs = zip(right.tolist(), (union - right).tolist(), strict=True)
        return tuple(intersection / total if total else None for intersection, total in pairs)

    @property
    def mean_iou(self) -> float:
        """The mean over the classes whose IoU is not None."""
        present = [value for value in self.iou if value is not None]
        return sum(present) / len(present)

    @property
    def pixel_accuracy(self) -> float:
        """The fraction of the counted pixels that were given their own class."""
        return int(self.confusion.trace()) / self.pixels

    def table(self) -> str:
        """A text table: the IoU of each class and its share of the labelled pixels, mIoU, pixel accuracy; in percent.

        A class that occurs nowhere has "-" as its IoU and does not count in the mean.
        """
        shares = [100 * count / self.pixels for count in reduce(self.confusion, "row column -> row", "sum").tolist()]
        width = max(len(name) for name in (*self.classes.names, "pixel accuracy"))
        rule = "-" * (width + 18)
        lines = [f"{'class':<{width}}{'IoU %':>8}{'pixels %':>10}", rule]
        for name, value, share in zip(self.classes.names, self.iou, shares, strict=True):
            shown = "-" if value is None else f"{100 * value:.2f}"
            lines.append(f"{name:<{width}}{shown:>8}{share:>10.2f}")
        lines.append(rule)
        lines.append(f"{'mIoU':<{width}}{100 * self.mean_iou:>8.2f}")
        lines.append(f"{'pixel accuracy':<{width}}{100 * self.pixel_accuracy:>8.2f}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON: percent at full precision, IoU by class name (null: absent), counts as lists."""
        return {
            "mean_iou": 100 * self.mean_iou,
            "pixel_accuracy": 100 * self.pixel_accuracy,
            "iou": {
                name: None if value is None else 100 * value
                for name, value in zip(self.classes.names, self.iou, strict=True)
            },
            "pixels": self.pixels,
            "confusion": self.confusion.tolist(),
        }
