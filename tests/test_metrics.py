"""Confusion counts and scores, against torchmetrics and by hand."""

import json

import pytest
import torch
from torch import Tensor

from core.images.classes import IGNORE, Classes
from core.testing.metrics import Score, confusion


def random_pair(num_classes: int, seed: int, present: int | None = None) -> tuple[Tensor, Tensor]:
    """Labels with a tenth ignored, and predictions that are right half of the time."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, present or num_classes, (37, 53), generator=generator)
    guesses = torch.randint(0, present or num_classes, labels.shape, generator=generator)
    prediction = torch.where(torch.rand(labels.shape, generator=generator) < 0.5, labels, guesses)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = IGNORE
    return labels, prediction


def classes(number: int) -> Classes:
    return Classes.coloured([f"class {index}" for index in range(number)])


@pytest.mark.slow
@pytest.mark.parametrize(("num_classes", "present"), [(2, 2), (5, 5), (19, 19), (19, 11), (171, 60)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_equals_torchmetrics(num_classes: int, present: int, dtype: torch.dtype) -> None:
    from torchmetrics.classification import (  # takes seconds, and this test alone needs it
        MulticlassAccuracy,
        MulticlassConfusionMatrix,
        MulticlassJaccardIndex,
    )

    pairs = [random_pair(num_classes, seed, present) for seed in range(3)]
    counts = torch.stack([confusion(a.to(dtype), b.to(dtype), num_classes) for a, b in pairs]).sum(dim=0)
    score = Score(classes(num_classes), counts)

    matrix = MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE)
    mean = MulticlassJaccardIndex(num_classes, average="macro", ignore_index=IGNORE)
    each = MulticlassJaccardIndex(num_classes, average="none", ignore_index=IGNORE)
    accuracy = MulticlassAccuracy(num_classes, average="micro", ignore_index=IGNORE)
    for labels, prediction in pairs:
        for metric in (matrix, mean, each, accuracy):
            metric.update(prediction, labels)

    assert counts.dtype == torch.int64
    assert torch.equal(counts, matrix.compute())
    assert score.pixels == sum(int((labels != IGNORE).sum()) for labels, _ in pairs)
    assert score.mean_iou == pytest.approx(mean.compute().item(), abs=1e-6)
    assert score.pixel_accuracy == pytest.approx(accuracy.compute().item(), abs=1e-6)
    assert [value or 0.0 for value in score.iou] == pytest.approx(each.compute().tolist(), abs=1e-6)


def test_rows_are_labels_and_columns_are_predictions() -> None:
    labels = torch.tensor([[0, 0, 1], [2, 2, IGNORE]])
    prediction = torch.tensor([[0, 1, 1], [0, 2, 2]])
    assert confusion(labels, prediction, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_absent_classes_are_left_out_of_the_mean() -> None:
    score = Score(classes(4), torch.tensor([[3, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0]]))
    assert score.iou == (3 / 4, 2 / 5, None, 0.0)
    assert score.mean_iou == pytest.approx((3 / 4 + 2 / 5 + 0) / 3)
    assert score.pixel_accuracy == 5 / 8


def test_a_class_that_is_predicted_but_never_labelled_counts_as_zero() -> None:
    score = Score(classes(2), torch.tensor([[3, 1], [0, 0]]))
    assert score.iou == (3 / 4, 0.0)


@pytest.mark.parametrize("value", [-1, 5, 254, 256])
def test_labels_out_of_range_are_named(value: int) -> None:
    labels = torch.zeros(3, 4, dtype=torch.int64)
    labels[1, 2] = value
    with pytest.raises(ValueError, match=f"label must be 0 to 4, or 255 to be ignored, got {value}"):
        confusion(labels, torch.zeros_like(labels), 5)


@pytest.mark.parametrize("value", [-1, 5, 255])
def test_predictions_out_of_range_are_named(value: int) -> None:
    prediction = torch.zeros(3, 4, dtype=torch.int64)
    prediction[1, 2] = value
    with pytest.raises(ValueError, match=f"prediction must be 0 to 4, got {value}"):
        confusion(torch.zeros_like(prediction), prediction, 5)
    ignored = torch.full_like(prediction, IGNORE)
    assert confusion(ignored, prediction, 5).sum() == 0


def test_sizes_must_agree() -> None:
    with pytest.raises((ValueError, TypeError)):  # TypeError: from the shape checker of the tests, where it runs
        confusion(torch.zeros(3, 4, dtype=torch.int64), torch.zeros(4, 3, dtype=torch.int64), 2)


def test_a_score_needs_pixels_and_a_fitting_matrix() -> None:
    with pytest.raises(ValueError, match="no pixel was counted"):
        Score(classes(3), torch.zeros(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="3 classes need int64 counts"):
        Score(classes(3), torch.ones(2, 2, dtype=torch.int64))


def test_table_is_aligned_and_in_percent() -> None:
    score = Score(Classes.coloured(["road", "traffic light", "a"]), torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    lines = score.table().splitlines()
    assert lines[0].split() == ["class", "IoU", "%", "pixels", "%"]
    assert lines[2].split() == ["road", "75.00", "50.00"]
    assert lines[3].split() == ["traffic", "light", "80.00", "50.00"]
    assert lines[4].split() == ["a", "-", "0.00"]
    assert lines[6].split() == ["mIoU", "77.50"]
    assert lines[7].split() == ["pixel", "accuracy", "87.50"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[6].index("77.50") == lines[2].index("75.00")


def test_json_keeps_full_precision() -> None:
    score = Score(classes(3), torch.tensor([[1, 2, 0], [0, 4, 0], [0, 0, 0]]))
    value = json.loads(json.dumps(score.to_json()))
    assert value["iou"] == {"class 0": 100 * (1 / 3), "class 1": 100 * (4 / 6), "class 2": None}
    assert value["mean_iou"] == 100 * score.mean_iou
    assert value["pixel_accuracy"] == 100 * (5 / 7)
    assert value["pixels"] == 7
    assert value["confusion"] == [[1, 2, 0], [0, 4, 0], [0, 0, 0]]
