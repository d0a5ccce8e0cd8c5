"""Dual attention as loops: DANet's Eq. (1) to (4), which are PDANet's Eq. (6) to (9)."""

import math
from typing import Any, Literal

import seeded
import torch
from seeded import Module, noise
from torch import Tensor, nn

Form = Literal["released", "paper"]
FORMS: tuple[Form, ...] = ("released", "paper")

SCALAR = 0.7


def drawn(module: Module) -> Module:
    """Give a module float64 weights drawn from their names, with alpha and beta 0.7, and put it into eval mode."""
    for name, parameter in seeded.drawn(module).named_parameters():
        if name.split(".")[-1] in ("alpha", "beta"):
            nn.init.constant_(parameter, SCALAR)
    return module


def features(channels: int, h: int = 3, w: int = 5) -> Tensor:
    """Return features A of two images on a map with h != w, small enough that no softmax is all or nothing."""
    return 0.5 * noise(2, channels, h, w).double()


def projected(module: nn.Module, column: Tensor) -> Tensor:
    """Return the projection of the features of one position: a matrix, and in the paper's form BatchNorm and ReLU."""
    if isinstance(module, nn.Conv2d):
        assert module.bias is not None
        return module.weight[:, :, 0, 0] @ column + module.bias
    convolution, norm, activation = module.children()
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(activation, nn.ReLU)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert convolution.bias is None
    values = convolution.weight[:, :, 0, 0] @ column
    values = (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    return values.clamp(min=0)


def position_sums(module: Any, A: Tensor) -> tuple[Tensor, Tensor]:
    """Return E and S, sum by sum; position j stands in row j // w and column j % w."""
    E = torch.empty_like(A)
    b, _, h, w = A.shape
    n = h * w
    S = A.new_empty(b, n, n)
    for image_ in range(b):
        columns = [A[image_, :, j // w, j % w] for j in range(n)]
        B = [projected(module.to_b, column) for column in columns]
        C = [projected(module.to_c, column) for column in columns]
        D = [projected(module.to_d, column) for column in columns]
        for j in range(n):
            energies = [math.exp(sum(float(x) * float(y) for x, y in zip(B[i], C[j], strict=True))) for i in range(n)]
            gathered = torch.zeros_like(columns[j])
            for i in range(n):
                S[image_, j, i] = energies[i] / sum(energies)
                gathered = gathered + S[image_, j, i] * D[i]
            E[image_, :, j // w, j % w] = SCALAR * gathered + columns[j]
    return E, S


def channel_sums(form: Form, A: Tensor) -> Tensor:
    """Return E, sum by sum; "released" subtracts each energy from the largest of its row."""
    E = torch.empty_like(A)
    b, c, _, _ = A.shape
    for image_ in range(b):
        for j in range(c):
            energies = [float((A[image_, i] * A[image_, j]).sum()) for i in range(c)]
            if form == "released":
                energies = [max(energies) - energy for energy in energies]
            total = sum(math.exp(energy) for energy in energies)
            gathered = torch.zeros_like(A[image_, j])
            for i in range(c):
                gathered = gathered + math.exp(energies[i]) / total * A[image_, i]
            E[image_, j] = SCALAR * gathered + A[image_, j]
    return E
