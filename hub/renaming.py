"""A public state dict into one of our networks, strictly: every name is accounted for, or nothing is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core import errors
from core.networks import weights
from core.networks.network import Network
from core.paper import Layout


@dataclass(frozen=True)
class Renamed:
    """What became of every name: of theirs, used, dropped or reshaped; of ours, filled in.

    `filled` are counters of BatchNorm, which old files lack and no answer depends on. Nothing is missing and nothing
    unexpected, or there is no report but an error that lists them.
    """

    used: Mapping[str, str]
    dropped: tuple[str, ...]
    reshaped: tuple[str, ...]
    filled: tuple[str, ...]

    def __str__(self) -> str:
        """One line for each fate."""
        return (
            f"used: {len(self.used)}\nmissing: none\nunexpected: none\n"
            f"reshaped: {errors.listed(self.reshaped)}\ndropped: {errors.listed(self.dropped)}\n"
            f"filled with 0: {errors.listed(self.filled)}"
        )


def convert(
    theirs: Mapping[str, Tensor], layout: Layout, network: Network, auxiliary: bool = False, what: str = "the file"
) -> Renamed:
    """Load a public state dict into one of our networks, in place, all or nothing.

    Args:
        theirs: names and tensors; half precision becomes float32, and scalars may be () or (1,).
        layout: how they are named.
        network: of the layout's kind, best built on the meta device: its tensors are replaced.
        auxiliary: whether their classifier on C3 is kept; the network needs `deep_supervision` then.
        what: the file, for the error.

    Raises:
        ValueError: if a name is missing or unexpected, or a shape differs; they are listed, and nothing is loaded.
    """
    ours, used, dropped = _renamed(theirs, layout, auxiliary)
    expected = network.state_dict()
    state, reshaped, filled = dict[str, Tensor](), [], []
    for name, tensor in ours.items():
        shape = expected[name].shape if name in expected else tensor.shape
        if tensor.shape != shape and {tensor.shape, shape} == {torch.Size(()), torch.Size((1,))}:
            reshaped.append(f"{name} {tuple(tensor.shape)} to {tuple(shape)}")
            tensor = tensor.reshape(shape)
        state[name] = tensor.long() if name.endswith(weights.COUNTER) else tensor.float()
    for name in expected:
        if name.endswith(weights.COUNTER) and name not in state:
            filled.append(name)
            state[name] = torch.zeros((), dtype=torch.int64)
    fits = f"{what} does not fit {type(network).__name__} with {network.architecture.backbone}"
    weights.refuse_misfits(fits, weights.shapes(expected), weights.shapes(state))

    if layout.normalisation is not None:
        state[layout.first] = state[layout.first].flip(1)  # they read blue, green, red
        network.normalisation = layout.normalisation
    network.load_state_dict(state, strict=True, assign=True)
    return Renamed(used, tuple(dropped), tuple(reshaped), tuple(filled))


def _renamed(
    theirs: Mapping[str, Tensor], layout: Layout, auxiliary: bool
) -> tuple[dict[str, Tensor], dict[str, str], list[str]]:
    """Their tensors by our names, the names that were changed, and those that were dropped.

    A name that no prefix knows stays as it is, and will be unexpected.
    """
    names = {**layout.names, **layout.auxiliary} if auxiliary else layout.names
    without = layout.dropped if auxiliary else (*layout.dropped, *layout.auxiliary)
    ours: dict[str, Tensor] = {}
    used: dict[str, str] = {}
    dropped = []
    for key, tensor in theirs.items():
        if key.startswith(without):
            dropped.append(key)
            continue
        prefix = next((prefix for prefix in names if key.startswith(prefix)), None)
        name = key if prefix is None else names[prefix] + key.removeprefix(prefix)
        ours[name], used[key] = tensor, name
    return ours, used, dropped
