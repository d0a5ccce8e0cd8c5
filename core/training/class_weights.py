"""What a class counts in the loss when rare classes should count more."""

import torch
from jaxtyping import Float
from torch import Tensor

from core.datasets.samples import Pairs
from core.datasets.transforms import TestSamples
from core.images.classes import IGNORE
from core.images.pixels import Normalisation


def median_frequency(pairs: Pairs, normalisation: Normalisation) -> Float[Tensor, " k"]:
    """The median frequency of all classes over that of each: 1 for the class in the middle, more for rarer ones.

    The frequency of a class is its share of the labelled pixels of the images in which it occurs, as in SegNet
    (Badrinarayanan et al., arXiv:1511.00561). A class that never occurs weighs 1.
    """
    number, samples = len(pairs.classes), TestSamples(pairs, normalisation)
    own, around = torch.zeros(number, dtype=torch.float64), torch.zeros(number, dtype=torch.float64)
    for index in range(len(samples)):
        _, labels = samples[index]
        counts = torch.bincount(labels[labels != IGNORE].flatten(), minlength=number)
        own += counts
        around += torch.where(counts > 0, counts.sum(), 0)
    frequency = own / around
    known = frequency[around > 0].sort().values
    middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    return torch.where(around > 0, middle / frequency, 1.0).float()
