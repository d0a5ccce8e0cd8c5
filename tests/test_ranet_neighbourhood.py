"""W^g as a kernel of 3x3, against Eq. (4) and (5) written out in loops, in float64."""

import pytest
import torch
from test_ranet_construction import Form, maps, tables
from torch import Tensor

from papers.ranet.model import Architecture, RANet, construct_within_bounds
from papers.ranet.regions.construction import RegionConstruction


def definition(B: Tensor, C: Tensor, form: Form, threshold: float, W: Tensor, b: Tensor) -> tuple[list[int], Tensor]:
    """The region of each pixel and J of one image, pair by pair; the kernel runs over j, and F is 0 outside."""
    D, E = tables(B, C, form)
    h, w = B.shape[1:]
    pixels = range(h * w)
    F = (1 - D) * (1 - E)
    rows = []
    for i in pixels:
        for j in pixels:
            total = b
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    y, x = j // w + dy, j % w + dx
                    if 0 <= y < h and 0 <= x < w:
                        total = total + W[dy + 1, dx + 1] * F[i, y * w + x]
            rows.append(total)
    regular = torch.stack(rows).view(h * w, h * w)
    root: list[int] = []
    for i in pixels:
        followed = next((j for j in range(i) if (regular[i, j] + regular[j, i]) / 2 > threshold), i)
        root.append(i if followed == i else root[followed])
    names = sorted(set(root))
    region = [names.index(r) for r in root]
    own = [[j for j in pixels if region[j] == region[i]] for i in pixels]
    return region, torch.stack([regular[i, js].sum() / len(js) for i, js in enumerate(own)])


def drawn() -> Tensor:
    """An uneven kernel whose weights are not symmetric and have a sum of 0.95."""
    W = torch.tensor([[0.02, 0.05, 0.01], [0.08, 0.6, 0.04], [0.03, 0.1, 0.02]], dtype=torch.float64)
    return W


@pytest.mark.slow
@pytest.mark.parametrize("form", [Form(), Form(boundary=False), Form(semantic=False)], ids=str)
@pytest.mark.parametrize("threshold", [0.55, 0.7])
def test_regions_scores_and_gradients_equal_the_definition(form: Form, threshold: float) -> None:
    B, C = maps(h=5, w=4)
    network = RegionConstruction("paper", threshold, *form[1:], kernel=3).double()
    assert network.weight is not None
    assert network.bias is not None
    network.weight.data.copy_(drawn())
    network.bias.data.fill_(0.05)
    ours = network(B, C)
    region, J = definition(B, C, form, threshold, network.weight, network.bias)
    assert ours.index.flatten().tolist() == region
    torch.testing.assert_close(ours.J.flatten(), J, atol=1e-12, rtol=0)
    leaves = [B, C, network.weight, network.bias]
    amounts = torch.linspace(-1, 2, J.numel(), dtype=J.dtype)
    given = torch.autograd.grad(ours.J.flatten(), leaves, amounts, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(J, leaves, amounts, allow_unused=True, materialize_grads=True)
    for x, y in zip(given, expected, strict=True):
        torch.testing.assert_close(x, y, atol=1e-11, rtol=0)


def test_at_the_identity_it_is_the_single_number() -> None:
    B, C = maps(images=2, h=5, w=6)
    one, nine = RegionConstruction().double()(B, C), RegionConstruction(kernel=3).double()(B, C)
    assert torch.equal(one.index, nine.index)
    torch.testing.assert_close(one.J, nine.J, atol=1e-12, rtol=0)


def test_the_kernel_stays_within_bounds() -> None:
    construct = RegionConstruction(kernel=3).double()
    assert construct.weight is not None
    assert construct.bias is not None
    construct.weight.data.copy_(2 * drawn() - 0.1)
    B, C = maps(h=4, w=4)
    regions = construct_within_bounds(construct, B.detach(), C.detach())
    weight, bias = construct.weight.detach(), construct.bias.detach()
    assert float(weight.min()) == 0
    assert float(weight.sum() + bias) == pytest.approx(1.0)
    assert float(regions.J.detach().min()) >= 0
    assert float(regions.J.detach().max()) <= 1 + 1e-12


@pytest.mark.slow
def test_it_is_a_reading_of_the_paper_alone() -> None:
    with pytest.raises(ValueError, match="the released code does not apply W"):
        RANet(5, Architecture(reading="released", region_kernel=3))
    with pytest.raises(ValueError, match='a kernel of 3 is of the reading "paper"'):
        RegionConstruction("released", kernel=3)
