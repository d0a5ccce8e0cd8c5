"""The picture of a confusion matrix."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64
from matplotlib.figure import Figure
from torch import Tensor

from core.images.classes import Classes


def confusion_matrix(counts: Int64[Tensor, "k k"], classes: Classes, path: Path | str) -> None:
    """Draw for each class (row) what share of its pixels was taken for which class (column), in percent.

    Numbers stand in the cells for up to 25 classes. A class without labelled pixels has an empty row.
    """
    total = counts.sum(dim=1, keepdim=True).double()
    shares = (100 * counts / total).numpy()  # nan where a class has no pixels
    number = len(classes)
    side = min(4 + 0.35 * number, 24)
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    axis = figure.subplots()
    drawn = axis.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(drawn, ax=axis, label="% of the pixels of the row", shrink=0.8)
    if number <= 25:
        for row, column in zip(*np.nonzero(np.nan_to_num(shares) >= 0.5), strict=True):
            colour = "white" if shares[row, column] > 60 else "black"
            axis.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    size = 8 if number <= 60 else 4
    axis.set_xticks(range(number), classes.names, rotation=90, fontsize=size)
    axis.set_yticks(range(number), classes.names, fontsize=size)
    axis.set_xlabel("prediction")
    axis.set_ylabel("labels")
    figure.savefig(path)
