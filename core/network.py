"""What the five networks share and no more: loading and saving, and the prediction for one picture."""

from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from core import backbones, pictures
from core.backbones import Backbone, Features
from core.classes import Classes
from core.inference import infer
from core.recipe import Protocol, from_json, to_json
from core.transforms import Normalisation, to_tensor

CARD = """---
{{ card_data }}
---

A {{ network }} for semantic segmentation. With the source tree of this network installed:

```python
from {{ module }} import {{ network }}

network = {{ network }}.from_pretrained("FOLDER_OR_REPOSITORY")
network.predict("photo.jpg").overlay().save("overlay.png")
```

`config.json` holds the architecture, the classes, the recipe it was trained by and what was changed in it.
"""


@dataclass(frozen=True)
class About:
    """What a trained checkpoint says of itself, beside its architecture: it stands in `config.json`.

    `recipe` is the recipe as JSON, `changed` maps each field that differs from the published recipe to the pair
    (published, used), `commit` is the source tree's.
    """

    classes: Classes
    protocol: Protocol
    recipe: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    commit: str = "unknown"


@dataclass(frozen=True)
class Prediction:
    """The answer for one image of h x w pixels.

    `labels` holds a class for each pixel; `scores` are the merged scores of the protocol, probabilities if it merges
    by softmax.
    """

    labels: UInt8[Tensor, "h w"]
    scores: Float[Tensor, "k h w"]
    image: Image.Image
    classes: Classes

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The image with its labels laid over it in colours."""
        return pictures.overlay(np.asarray(self.image), self.labels, self.classes, opacity)


class Network(nn.Module, PyTorchModelHubMixin, model_card_template=CARD, tags=["semantic-segmentation"]):
    """A segmentation network: a backbone and what its paper puts on top.

    Its `forward` maps an image `b 3 h w`, normalised by `normalisation`, to a NamedTuple whose `.scores` is
    `b k h w` at input size. `align_corners` says how scores are enlarged. `about` is set once it is trained.
    """

    backbone: Features
    _hub_mixin_config: dict[str, Any] | None
    num_classes: int
    align_corners: bool
    normalisation: Normalisation

    def __init__(self, num_classes: int, backbone: Backbone, align_corners: bool) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"{type(self).__name__} needs num_classes of at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.normalisation = Normalisation(*backbones.normalisation(backbone))
        self.backbone = backbones.build(backbone)

    @property
    def about(self) -> About | None:
        """What a trained checkpoint says of itself; None for a network that was only built."""
        stored = (self._hub_mixin_config or {}).get("about")
        return from_json(About, stored) if stored else None

    @about.setter
    def about(self, about: About) -> None:
        self._hub_mixin_config = {**(self._hub_mixin_config or {}), "about": to_json(about)}

    def predict(
        self, image: Image.Image | str | Path | UInt8[Tensor, "3 h w"], protocol: Protocol | None = None
    ) -> Prediction:
        """Segment one picture, of any size.

        Args:
            image: a PIL image, a path, or an 8-bit RGB tensor.
            protocol: how to test it; None takes the checkpoint's own, or the whole image at once.
        """
        if isinstance(image, str | Path):
            with Image.open(image) as opened:
                image = opened.convert("RGB")
        pixels = image if isinstance(image, Tensor) else to_tensor(image)
        shown = Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())
        about = self.about
        protocol = protocol or (about.protocol if about else Protocol())
        device = next(self.parameters()).device
        training = self.training
        self.eval()
        scores = infer(self, self.normalisation(pixels.cpu()).to(device), protocol).cpu()
        self.train(training)
        classes = about.classes if about else Classes.coloured([f"class {k}" for k in range(self.num_classes)])
        return Prediction(scores.argmax(0).to(torch.uint8), scores, shown, classes)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The README.md that is saved beside the weights."""
        kwargs = {"network": type(self).__name__, "module": type(self).__module__, **kwargs}
        return super().generate_model_card(*args, **kwargs)

    @classmethod
    def _decode_arg(cls, expected_type: Any, value: Any) -> Any:
        """Rebuild nested frozen values, where the mixin itself goes one level deep and lets unknown fields pass."""
        return from_json(expected_type, value) if is_dataclass(expected_type) else value  # type: ignore[arg-type]

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: dict[str, Any] | None = None, strict: bool = True, **kwargs: Any
    ) -> "Network":
        """Load strictly: the mixin's own default leaves random weights in silence where keys differ."""
        if config is None:
            raise ValueError(
                f"{model_id} has no config.json; give a folder that save_pretrained or a training run wrote"
            )
        network = super()._from_pretrained(model_id=model_id, strict=strict, **kwargs)
        if config.get("about"):
            network.about = from_json(About, config["about"])
        return network
