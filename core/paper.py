"""A paper as one value: all that the Hub, the gates and the tests must know of it."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from core import cost
from core.cost import Cost
from core.images.panels import Attention
from core.images.pixels import Normalisation
from core.networks.complexity import Convention, Printed
from core.networks.losses import Loss
from core.networks.network import Network
from core.recipe import Data, Recipe


@dataclass(frozen=True)
class Layout:
    """The weights of a paper's network, as one public implementation names them: prefixes, theirs -> ours.

    Every name begins with a prefix of `names`, `auxiliary` or `dropped`.

    Attributes:
        names: what is used.
        recipe: what a file is tested by if nothing else is said; None where the file's name must tell.
        auxiliary: a classifier on C3 that ours has with `deep_supervision`.
        dropped: what changes no answer.
        normalisation: of the input, where it is not the backbone's; the colours are then in the order blue, green, red.
        first: the convolution of the image, whose colours may be turned round.
    """

    names: Mapping[str, str]
    recipe: str | None = None
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    normalisation: Normalisation | None = None
    first: str = "backbone.body.conv1.weight"


@dataclass(frozen=True)
class Paper:
    """A paper: its network, its rows, and how it counts.

    Attributes:
        name: as the paper calls its method.
        network: the class that `config.json` names.
        loss: the objective, term by term.
        attention: what a pixel of a picture attends to.
        recipes: a value for each row, by name, in the order of the paper.
        ladders: networks of ours, each beside the same one without the paper's modules; the first one is the demo.
        ablations: tables that compare parts of a network, or are not the paper's; they stand in its README only.
        convention: how its network is counted.
        columns: counts what the paper prints of parameters, multiply-adds and memory.
        speeds: images that one H200 trained a second with bf16, by recipe, where it was measured.
        uncounted: takes out of a network what the meta device can't make, and returns what that takes in training, in
            bytes for each position of the features of each image.
        public: whose weights fit, by the name that `hub.convert` takes.
        loss_weights: further arguments of `loss` that an architecture decides.
        tested_by: the network that tests a recipe's weights where it is not `network`, by recipe.
        golden_merge: how the golden network of `ci.golden` merges its answers.
        remark: a line under a test's table, by the data set and the mean IoU, where the paper prints another number;
            empty elsewhere.
    """

    name: str
    network: type[Network]
    loss: Loss
    attention: Attention
    recipes: Mapping[str, Recipe[Any]]
    ladders: tuple[tuple[Recipe[Any], Recipe[Any]], ...]
    ablations: tuple[str, ...] = ()
    convention: Convention = Convention("products", (769, 769))
    columns: Callable[[], Iterable[Printed]] | None = None
    speeds: Mapping[str, float] = field(default_factory=dict)
    uncounted: Callable[[Any], float] | None = None
    public: Mapping[str, Layout] = field(default_factory=dict)
    loss_weights: Callable[[Any], dict[str, float]] | None = None
    tested_by: Mapping[str, type[Network]] = field(default_factory=dict)
    golden_merge: Literal["softmax", "scores", "exp"] = "softmax"
    remark: Callable[[Data, float], str] | None = None

    def objective(self, architecture: Any) -> Loss:
        """The loss of a network of this architecture."""
        return self.loss if self.loss_weights is None else partial(self.loss, **self.loss_weights(architecture))

    def build(self, recipe: Recipe[Any]) -> Network:
        """The untrained network of a recipe."""
        return self.network(recipe.data.num_classes, recipe.architecture)

    @property
    def folder(self) -> str:
        """Its folder below `papers`."""
        return self._place.name

    @property
    def demo(self) -> str:
        """The recipe that runs without arguments."""
        return self.ladders[0][0].name

    @property
    def _place(self) -> Path:
        return Path(inspect.getfile(self.network)).parent

    @property
    def costs_file(self) -> Path:
        """Where `python -m ci.costs` writes what training takes."""
        return self._place / "costs.json"

    @property
    def costs(self) -> Mapping[str, Cost]:
        """What training takes, by recipe."""
        return cost.read(self.costs_file)
