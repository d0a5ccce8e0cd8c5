"""The weights of classes that are chosen by how often they are seen, and the loss that takes them."""

import pytest
import tiny
import torch

from core.datasets.samples import labels_of
from core.networks.losses import cross_entropy
from core.training.class_weights import median_frequency


def test_median_frequency_weighs_rare_classes_more() -> None:
    """Every class's weight from its definition, in loops over the labels."""
    pairs = tiny.pairs("val")
    weights = median_frequency(pairs, tiny.Tiny(10).normalisation)
    rows = [torch.tensor(labels_of(pairs.rows[index])).flatten() for index in range(len(pairs))]
    frequency = {}
    for label in range(10):
        having = [row[row != 255] for row in rows if (row == label).any()]
        if having:
            frequency[label] = sum(int((row == label).sum()) for row in having) / sum(len(row) for row in having)
    ordered = sorted(frequency.values())
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    for label in range(10):
        expected = middle / frequency[label] if label in frequency else 1.0
        assert weights[label].item() == pytest.approx(expected, rel=1e-5)


def test_weighted_cross_entropy_is_the_weighted_mean() -> None:
    scores, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    labels[0, 0, 0] = 255
    weights = torch.tensor([1.0, 2.0, 0.5])
    expected = torch.nn.functional.cross_entropy(scores, labels, weights, ignore_index=255)
    assert cross_entropy(scores, labels, weights).item() == pytest.approx(expected.item(), rel=1e-6)
    assert cross_entropy(scores, torch.full_like(labels, 255), weights).item() == 0
