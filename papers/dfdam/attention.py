"""What the attention modules of a DF-DAM let through: channel weights, and the confidence at each position."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from core.images.panels import Attended, Curves, Panel, Point, position_of
from core.images.pixels import to_tensor
from papers.dfdam.model import DFDAM


@dataclass(frozen=True)
class Modules:
    """What the modules of a network did with one image: alpha_L, alpha_H, X_L and beta of `model.py`."""

    low_weights: Float[Tensor, " c"]
    high_weights: Float[Tensor, " c"]
    low: Float[Tensor, "c h w"]
    beta: Float[Tensor, "y x"] | None  # None for a network without the position attention


@torch.inference_mode()
def modules_of(network: DFDAM, picture: Image.Image) -> Modules:
    """Run a network in evaluation mode on an image and keep what its modules compute on the way.

    Raises:
        ValueError: if the network has no fusion with channel weights.
    """
    if network.fusion is None:
        raise ValueError("these weights have no channel weights; take those of a DF-DAM with the module DAFM")
    parts: dict[str, nn.Module] = {
        "low_weights": network.fusion.to_alpha_low,
        "high_weights": network.fusion.to_alpha_high,
        "low": network.convert_low,
    }
    if network.position is not None:
        parts["beta"] = network.position.to_beta

    kept: dict[str, Tensor] = {}

    def keeper(name: str) -> torch.utils.hooks.RemovableHandle:
        def keep(module: nn.Module, given: tuple[Tensor, ...], returned: Tensor) -> None:
            kept[name] = returned[0].cpu()

        return parts[name].register_forward_hook(keep)

    handles = [keeper(name) for name in parts]
    try:
        network(network.normalisation(to_tensor(picture)).to(next(network.parameters()))[None])
    finally:
        for handle in handles:
            handle.remove()
    return Modules(
        low_weights=rearrange(kept["low_weights"], "c 1 1 -> c"),
        high_weights=rearrange(kept["high_weights"], "c 1 1 -> c"),
        low=kept["low"],
        beta=rearrange(kept["beta"], "1 h w -> h w") if "beta" in kept else None,
    )


def channels_to_show(low_weights: Float[Tensor, " c"]) -> tuple[int, int, int]:
    """The channel of the lowest weight and the two of the highest, counted from 1: the paper's 51, 126 and 11."""
    order = low_weights.argsort(stable=True).tolist()
    return order[0] + 1, order[-2] + 1, order[-1] + 1


def gates(modules: Modules) -> Curves:
    """Both vectors of channel weights (Figure 7(a))."""
    lines = {"high-level": modules.high_weights, "low-level": modules.low_weights}
    return Curves("channel weights (gates)", "channel", lines)


def channel_map(modules: Modules, number: int) -> Panel:
    """A channel of X_L, counted from 1, with its weight."""
    weight = float(modules.low_weights[number - 1])
    return Panel(f"channel map #{number}, weight {weight:.2f}", modules.low[number - 1])


def confidence(beta: Float[Tensor, "y x"], title: str = "confidence map") -> Panel:
    """The map of beta, from 0 in black to 1 in white."""
    return Panel(title, beta, "gray", low=0.0, high=1.0, smooth=False)


def attention(network: DFDAM, picture: Image.Image) -> Callable[[Point], Attended]:
    """Return what answers for any point: the gates of the image, three channel maps, and the confidence there.

    Raises:
        ValueError: if the network has no fusion with channel weights.
    """
    modules = modules_of(network, picture)

    def at(point: Point) -> Attended:
        shown: list[Panel | Curves] = []
        if modules.beta is not None:
            here = float(modules.beta[position_of(point, picture, modules.beta)])
            shown.append(confidence(modules.beta, f"confidence map, {here:.2f} here"))
        shown.append(gates(modules))
        shown += [channel_map(modules, number) for number in channels_to_show(modules.low_weights)]
        return Attended(
            "White in the confidence map are the positions that let the fine details of the lowest stage through, "
            "Eq. (9). The gates weigh each channel of the image, from the low-level and the high-level features; below "
            "are the low-level channel that is weighed least and the two that are weighed most.",
            tuple(shown),
        )

    return at
