"""Figure 5 of RANet for any image and any checkpoints: the regions in colours, and their representatives as dots.

python papers/ranet/figures.py PHOTO --weights WEIGHTS_OR_STATE --to figure5.png

Below the image there is a row for each of `--weights`, which may be given several times: a run folder, an org/name of
the Hub, or a state of a run that still goes on (its folder, or a copy of its state.pt), so that the growth of regions
over training can be drawn. A row has the regions, perhaps of one `--category` as in the paper, B, J and the prediction.
Without weights it takes the bundled network, without a photo a street of CamVid. Regions are found in the whole picture
at once, brought to the size at which the network is tested and at most 769 pixels long.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from core import comparison, datasets
from core.errors import require, unknown
from core.figures import PHOTO, cell, open_photo, sheet
from core.files import refuse_no_picture
from core.images.pixels import as_tested
from core.networks.network import About
from core.recipe import Protocol, Recipe
from core.run import WHERE
from core.training import checkpoint
from core.training.folder import STATE
from core.values import from_json
from papers.ranet.attention import find
from papers.ranet.model import Architecture, RANet


@dataclass(frozen=True)
class Options:
    """What to draw."""

    photo: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(help=PHOTO)] = None
    weights: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help=f"{WHERE}, or a state.pt; one row each"),
    ] = ()
    side: Annotated[int | None, tyro.conf.arg(help="longest side in pixels; None: as the network is tested")] = None
    category: Annotated[
        str | None, tyro.conf.arg(help="draw its regions alone, as Figure 5 does; None: all regions")
    ] = None
    to: Path = Path("figure5.png")


def load(where: str) -> tuple[RANet, str, Protocol]:
    """Return the network of a run folder, a Hub repository or a state, what to call it, and how it is tested.

    Raises:
        ValueError: if there is none, or it is not of a RANet.
    """
    path = Path(where)
    state = path / STATE if path.is_dir() and not (path / "config.json").is_file() else path
    if state.is_file():
        content = checkpoint.load_state(state)
        if not {"network", "recipe", "step"} <= content.keys():
            raise ValueError(f"{state} is not the state of a training run; give the {STATE} of a run folder")
        recipe = from_json(Recipe[Architecture], content["recipe"])
        network = RANet(recipe.data.num_classes, recipe.architecture)
        network.load_state_dict(content["network"])
        classes = datasets.find(recipe.data.name).classes
        if classes is not None and len(classes) == recipe.data.num_classes:
            network.about = About(classes, recipe.protocol, content["recipe"])
        return network.eval(), f"{recipe.name}, step {content['step']}", recipe.protocol
    network = RANet.from_pretrained(where)
    return network, where, network.about.protocol if network.about else Protocol()


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo or the weights do not exist, or have no regions, or the side is not positive.
    """
    refuse_no_picture(options.to)
    if options.side is not None and options.side < 1:
        raise ValueError(f"--side must be at least 1 pixel, got {options.side}")
    loaded = [load(where) for where in options.weights or ("ranet-tiny-camvid",)]
    picture = open_photo(options.photo, loaded[0][0])
    rows, predictions = [], []
    for network, name, protocol in loaded:
        seen = as_tested(picture, protocol, options.side)
        found = find(network, seen)
        number = _number(network, options.category)
        shown = int(found.regions.number) if number is None else int(found.of(number).sum())
        words = f"regions: {shown}" + (f" of {options.category}" if options.category else "")
        regions = found.region_map(f"{name}\n{words}", number)
        panels = (regions, found.boundary_map(), found.representative_map())
        predictions.append(network.predict(seen, Protocol()))
        rows.append([*(cell(panel, seen) for panel in panels), ("prediction", predictions[-1].overlay())])
    return sheet([[("image", picture)], *rows], predictions)


def _number(network: RANet, category: str | None) -> int | None:
    """The number of a category by its name."""
    if category is None:
        return None
    names = network.classes.names
    require(category in names, unknown("category of these weights", category, names))
    return names.index(category)


def main() -> None:
    """Write the figure that the command line says."""
    comparison.main(RANet, __doc__, Options(), lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
