"""Figures 7 and 8 of DF-DAM for any images and any weights: what its two attention modules let through.

python papers/dfdam/figures.py PHOTO PHOTO --weights FOLDER_OR_REPOSITORY --channel 51 --channel 126 --to FOLDER

writes FOLDER/figure7.png, the weight of each channel, and FOLDER/figure8.png, channel maps and the confidence map.
Without photos it takes two embedded scenes, without weights the demo's run folder. Without channels it shows the one of
the lowest weight and the two of the highest, which is what the paper's 51, 126 and 11 are.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from einops import rearrange
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from core import comparison
from core.errors import door
from core.figures import open_photo, refuse_missing_weights
from core.images.pixels import to_tensor
from core.networks.network import Prediction
from papers.dfdam.model import DFDAM
from papers.dfdam.recipes import DEMO


@dataclass(frozen=True)
class Options:
    """What to draw."""

    photos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(help="image files")] = ()
    weights: Annotated[str, tyro.conf.arg(help="run folder or org/name of a Hub repository")] = f"runs/{DEMO}"
    channel: Annotated[
        tyro.conf.UseAppendAction[tuple[int, ...]], tyro.conf.arg(help="counted from 1, as in the paper")
    ] = ()
    to: Annotated[Path, tyro.conf.arg(help="the folder for figure7.png and figure8.png")] = Path(".")


@dataclass(frozen=True)
class Attention:
    """What the modules of a network did with one image: alpha_L, alpha_H, X_L and beta of `model.py`."""

    low_weights: Float[Tensor, " c"]
    high_weights: Float[Tensor, " c"]
    low: Float[Tensor, "c h w"]
    beta: Float[Tensor, "y x"] | None  # None for a network without the position attention


@torch.inference_mode()
def attention_of(network: DFDAM, picture: Image.Image) -> Attention:
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
        network(rearrange(network.normalisation(to_tensor(picture)), "c h w -> 1 c h w"))
    finally:
        for handle in handles:
            handle.remove()
    return Attention(
        low_weights=rearrange(kept["low_weights"], "c 1 1 -> c"),
        high_weights=rearrange(kept["high_weights"], "c 1 1 -> c"),
        low=kept["low"],
        beta=rearrange(kept["beta"], "1 h w -> h w") if "beta" in kept else None,
    )


def channels_to_show(chosen: tuple[int, ...], low_weights: Float[Tensor, " c"]) -> tuple[int, ...]:
    """Return the chosen channels, counted from 1; without any, that of the lowest weight and the two of the highest.

    Raises:
        ValueError: if there is no such channel.
    """
    wrong = [number for number in chosen if not 1 <= number <= len(low_weights)]
    if wrong:
        raise ValueError(f"--channel must be 1 to {len(low_weights)}, got {wrong[0]}")
    order = low_weights.argsort(stable=True).tolist()
    return chosen or tuple(index + 1 for index in (order[0], order[-2], order[-1]))


def figure7(attended: list[Attention]) -> Figure:
    """Draw the weight of each channel: high-level and low-level of the first image, and low-level of all images."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    first, second = figure.subplots(2, 1, sharex=True)
    numbers = range(1, len(attended[0].low_weights) + 1)
    first.plot(numbers, attended[0].high_weights.tolist(), color="C3", label="high-level")
    first.plot(numbers, attended[0].low_weights.tolist(), color="C0", label="low-level")
    first.set_title("(a) channel weights of the first image")
    for place, attention in enumerate(attended, start=1):
        second.plot(numbers, attention.low_weights.tolist(), label=f"image {place}")
    second.set_title("(b) channel weights of the low-level features")
    second.set_xlabel("channel")
    for axis in (first, second):
        axis.set_ylim(0, 1)
        axis.set_xlim(1, len(numbers))
        axis.grid(alpha=0.3)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def figure8(
    pictures: list[Image.Image], attended: list[Attention], channels: tuple[int, ...], predictions: list[Prediction]
) -> Figure:
    """Draw a row for each image: itself, channels of X_L, the confidence map if there is one, and the prediction."""
    confident = attended[0].beta is not None
    columns = 2 + len(channels) + confident
    tall = max(picture.height / picture.width for picture in pictures)
    figure = Figure(figsize=(3 * columns + 1, (3 * tall + 0.3) * len(pictures)), layout="constrained")
    rows = figure.subplots(len(pictures), columns, squeeze=False)
    for axis in rows.flat:
        axis.set_axis_off()
    for axes, picture, attention, prediction in zip(rows, pictures, attended, predictions, strict=True):
        extent = (0, picture.width, picture.height, 0)
        axes[0].imshow(picture, extent=extent)
        axes[-1].imshow(prediction.overlay(), extent=extent)
        for axis, number in zip(axes[1:], channels, strict=False):
            axis.imshow(attention.low[number - 1].numpy(), cmap="viridis", extent=extent, interpolation="bilinear")
            axis.set_title(f"weight {float(attention.low_weights[number - 1]):.2f}", fontsize=9)
        if attention.beta is not None:
            shown = axes[-2].imshow(attention.beta.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent)
            figure.colorbar(shown, ax=axes[-2], fraction=0.046)
    titles = ["image", *(f"channel map #{number}" for number in channels)]
    titles += ["confidence map", "prediction"] if confident else ["prediction"]
    for axis, title in zip(rows[0], titles, strict=True):
        axis.set_title(f"{title}\n{axis.get_title()}".strip(), fontsize=9)
    return figure


def figures(options: Options) -> tuple[Figure, Figure]:
    """Draw what the options say: Figure 7 and Figure 8.

    Raises:
        ValueError: if a photo, the weights or a channel does not exist.
    """
    pictures = [open_photo(photo) for photo in options.photos] or [open_photo(None, scene) for scene in (1, 2)]
    if options.to.exists() and not options.to.is_dir():
        raise ValueError(f"--to must be a folder, for two files, got the file {options.to}")
    refuse_missing_weights(options.weights, Options().weights)
    network = DFDAM.from_pretrained(options.weights)
    attended = [attention_of(network, picture) for picture in pictures]
    channels = channels_to_show(options.channel, attended[0].low_weights)
    predictions = [network.predict(picture) for picture in pictures]
    return figure7(attended), figure8(pictures, attended, channels, predictions)


def main() -> None:
    """Write the figures that the command line says."""
    if sys.argv[1:2] == [comparison.WORD]:
        return comparison.main(DFDAM, sys.argv[2:])
    with door():
        options = tyro.cli(Options, description=__doc__)
        weights, maps = figures(options)
        options.to.mkdir(parents=True, exist_ok=True)
    weights.savefig(options.to / "figure7.png", dpi=120)
    maps.savefig(options.to / "figure8.png", dpi=120)


if __name__ == "__main__":
    main()
