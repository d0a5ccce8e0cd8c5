"""A network of ours as a model of transformers: what a modelling file ends in, and never imported by this code.

    pixel_values    b c h w    as the image processor beside it gives them, normalised; three channels are RGB
    labels          b h w      a class for each pixel; 255 is ignored
    logits          b k h w    at the size of the image

In evaluation mode images are tested by the protocol that the weights were measured with (`protocol`): scales, windows,
mirrored images. `logits` are then the logarithms of the merged probabilities, and `loss` their cross-entropy. In
training mode they are the network's scores, and `loss` is the sum of the terms that the paper trains with.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from core.images.pixels import Normalisation
from core.networks.inference import infer
from core.networks.losses import cross_entropy
from core.networks.segmenter import Segmenter
from core.recipe import Protocol

SMALLEST = torch.finfo(torch.float32).tiny


class Plain:
    """A network without its door, as `infer` asks it: it answers with what the network returns."""

    def __init__(self, behind: "Door") -> None:
        self.behind = behind

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Any:
        """Return what the network returns."""
        return self.behind.network(images)

    def __getattr__(self, name: str) -> Any:
        """Return what the network has."""
        return getattr(self.behind, name)


class Settings(PreTrainedConfig):
    """What config.json holds, whatever it is."""


class Door(Segmenter):
    """Turns a network into a model of transformers: derive from this, the network and PreTrainedModel, in this order.

    `kind` is the network's architecture, `objective` its loss, and `loss_weights` what an architecture adds to the
    arguments of that.
    """

    main_input_name = "pixel_values"
    kind: Any
    objective: Callable[..., dict[str, Tensor]]
    post_init: Callable[[], None]  # PreTrainedModel's
    is_built = False

    def __init__(self, config: Any) -> None:
        """Build the network of a configuration.

        Raises:
            ValueError: if there can be no such network.
        """
        PreTrainedModel.__init__(self, config)
        super().__init__(config.num_labels, rebuilt(self.kind, config.architecture))
        self.normalisation = rebuilt(Normalisation, config.normalisation)
        self.protocol = rebuilt(Protocol, (getattr(config, "about", None) or {}).get("protocol", {}))
        self.post_init()
        self.is_built = True

    @staticmethod
    def loss_weights(architecture: Any) -> dict[str, float]:
        """Return no further arguments of the objective."""
        return {}

    def network(self, images: Float[Tensor, "b c h w"]) -> Any:
        """Return what the network itself returns, whatever the protocol says: `.scores` and, for its loss, more."""
        return super().forward(images)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw what `from_pretrained` could not load; what was only built has its weights already."""
        if self.is_built and hasattr(module, "reset_parameters"):
            module.reset_parameters()  # type: ignore[operator]

    def forward(
        self,
        pixel_values: Float[Tensor, "b c h w"],
        labels: Int64[Tensor, "b h w"] | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Return the logits, and the loss if there are labels."""
        if self.training:
            output = self.network(pixel_values)
            logits = output.scores
            terms = {} if labels is None else self.objective(output, labels, **self.loss_weights(self.architecture))
        else:
            network: Any = Plain(self)
            images = pixel_values.to(next(self.parameters()))
            logits = torch.stack([logarithms(infer(network, image, self.protocol)) for image in images])
            terms = {} if labels is None else {"scores": cross_entropy(logits, labels)}
        loss = sum(terms.values(), logits.new_zeros(())) if terms else None
        answer = SemanticSegmenterOutput(loss=loss, logits=logits)
        return answer if return_dict in (None, True) else answer.to_tuple()


def logarithms(probabilities: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    """Return finite logarithms, of which the same class is the largest: rounding must not make it equal to another."""
    logits = probabilities.clamp(min=SMALLEST).log()
    label = probabilities.argmax(dim=0, keepdim=True)
    above = torch.nextafter(logits.amax(dim=0, keepdim=True), torch.ones_like(logits[:1]))
    return logits.scatter(0, label, above)


def rebuilt(kind: Any, value: Any) -> Any:
    """Return a frozen value of ours from its JSON, in which tuples are lists."""
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        return kind(**{name: rebuilt(kinds[name], item) for name, item in value.items()})  # type: ignore[operator]
    return tuple(value) if isinstance(value, list) else value
