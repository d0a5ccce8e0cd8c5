"""The boundary labels of RANet against their definition, pixel by pixel."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from core.datasets.sets import scenes
from core.images.classes import IGNORE
from papers.ranet.boundaries import DISTANCE, boundary_labels, shifts


def by_distances(labels: Tensor, distance: int) -> Tensor:
    """For each class the pixels at most `distance` from its edge, inside or outside, united; void as documented."""
    found = torch.zeros_like(labels)
    for image, result in zip(labels, found, strict=True):
        pixels = [(y, x) for y in range(image.shape[0]) for x in range(image.shape[1])]
        known = [pixel for pixel in pixels if image[pixel] != IGNORE]
        for label in {int(image[pixel]) for pixel in known}:
            inside = [pixel for pixel in known if image[pixel] == label]
            outside = [pixel for pixel in known if image[pixel] != label]
            for here, there in ((inside, outside), (outside, inside)):
                for pixel in here:
                    if min((math.dist(pixel, other) for other in there), default=math.inf) <= distance:
                        result[pixel] = 1
        void = [pixel for pixel in pixels if image[pixel] == IGNORE]
        for pixel in pixels:
            near_void = min((math.dist(pixel, other) for other in void), default=math.inf) <= distance
            if near_void and not result[pixel]:
                result[pixel] = IGNORE
    return found


def random_labels(seed: int, height: int, width: int) -> Tensor:
    """Blocks of 4 x 5 pixels of three classes or void."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 4, (2, -(-height // 4), -(-width // 5)), generator=generator)
    values = torch.tensor([0, 1, 18, IGNORE])[blocks]
    return values.repeat_interleave(4, 1).repeat_interleave(5, 2)[:, :height, :width]


def maps() -> Iterator[Tensor]:
    yield random_labels(0, 11, 17)
    yield random_labels(1, 2, 13)
    yield random_labels(2, 9, 1)
    yield torch.full((1, 5, 6), 3)
    yield torch.full((1, 5, 6), IGNORE)
    alone = torch.zeros(1, 9, 10, dtype=torch.int64)
    alone[0, 4, 6] = 7
    yield alone


@pytest.mark.parametrize("distance", [1, 2, 3])
@pytest.mark.parametrize("number", range(6))
def test_boundaries_are_those_of_the_definition(number: int, distance: int) -> None:
    labels = list(maps())[number]
    assert torch.equal(boundary_labels(labels, distance), by_distances(labels, distance))


def test_a_straight_edge_has_a_band_of_two_pixels_on_either_side_and_none_at_the_border() -> None:
    labels = torch.zeros(1, 6, 12, dtype=torch.int64)
    labels[..., 7:] = 1
    expected = torch.zeros(12, dtype=torch.int64)
    expected[7 - DISTANCE : 7 + DISTANCE] = 1
    assert DISTANCE == 2
    assert torch.equal(boundary_labels(labels), expected.expand(1, 6, 12))


@pytest.mark.parametrize("label", [0, 18])
def test_every_class_has_boundaries(label: int) -> None:
    """The authors' tool leaves out the first class and reads one that does not exist."""
    labels = torch.full((1, 8, 9), 5)
    labels[:, 3:, 4:] = label
    assert (boundary_labels(labels) == 1).any()


def test_void_makes_no_boundary_and_hides_none() -> None:
    labels = torch.zeros(1, 4, 12, dtype=torch.int64)
    labels[..., 5] = IGNORE
    assert boundary_labels(labels)[0, 0].tolist() == [0] * 3 + [IGNORE] * 5 + [0] * 4
    labels[..., 6:] = 1  # the pixels on both sides of the void column are two apart
    assert boundary_labels(labels)[0, 0].tolist() == [0] * 3 + [IGNORE, 1, IGNORE, 1, IGNORE] + [0] * 4


def test_labels_are_left_alone_and_mirrors_have_mirrored_boundaries() -> None:
    _, pixels = scenes.draw(2, 0, height=64, width=96)
    labels = torch.from_numpy(pixels).long()[None]
    kept = labels.clone()
    found = boundary_labels(labels)
    assert torch.equal(labels, kept)
    assert 0.02 < (found == 1).float().mean() < 0.5
    for dims in ((1,), (2,), (1, 2)):
        assert torch.equal(boundary_labels(labels.flip(dims)), found.flip(dims))


def test_half_of_the_directions_is_enough() -> None:
    assert len(shifts(2)) == 6
    both = {(sign * y, sign * x) for y, x in shifts(3) for sign in (1, -1)}
    assert both == {(y, x) for y in range(-3, 4) for x in range(-3, 4) if 0 < y * y + x * x <= 9}


def test_a_distance_below_one_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1 pixel, got 0"):
        boundary_labels(torch.zeros(1, 2, 2, dtype=torch.int64), 0)
