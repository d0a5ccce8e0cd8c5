"""A trained network with one of its paper's modules switched off, and nothing else changed.

What a module adds is left out. What a module weighs by is replaced by its mean, so that it prefers nothing any more but
the size of what follows stays.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn

StandIns = Mapping[str, nn.Module]
"""Modules that take the place of others, by the path of these in the network."""


class Averaged(nn.Module):
    """A module whose answer is replaced by its mean over some axes, at its own size.

    Args:
        module: what answers; its weights are not copied.
        axes: over which the mean is taken.
    """

    def __init__(self, module: nn.Module, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.axes = module, axes

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the mean, as often as there were values."""
        answer: Tensor = self.module(x)
        return answer.mean(self.axes, keepdim=True).expand_as(answer)


class Nothing(nn.Module):
    """A module whose answer is replaced by zeros."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return zeros of the size of the answer."""
        answer: Tensor = self.module(x)
        return answer.new_zeros(answer.shape)


@contextmanager
def replaced(network: nn.Module, stand_ins: StandIns) -> Iterator[None]:
    """Let stand-ins take the place of modules for a while; the old ones come back, also after an error."""
    kept = {path: network.get_submodule(path) for path in stand_ins}
    try:
        for path, stand_in in stand_ins.items():
            network.set_submodule(path, stand_in)
        yield
    finally:
        for path, module in kept.items():
            network.set_submodule(path, module)
