"""What the five networks share and no more: loading and saving, and the prediction for one picture."""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints, overload

import safetensors.torch
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from torch import Tensor

from core import errors, files
from core.errors import require, unknown
from core.images import bands
from core.images.classes import Classes
from core.images.pixels import Normalisation
from core.memory import device_of, free_memory
from core.networks import configuration, fingerprint, repository, weights
from core.networks.choices import chosen
from core.networks.inference import infer_each
from core.networks.parts import StandIns, replaced
from core.networks.prediction import Picture, Prediction, picture_of, pixels_of
from core.networks.segmenter import Segmenter
from core.networks.words import refuse_foreign
from core.networks.workload import memory, refuse_excess
from core.recipe import FP16, Precision, Protocol
from core.values import from_json, to_json

Kind = TypeVar("Kind", bound="Network")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

CARD = """---
{{ card_data }}
---

A {{ network }} for semantic segmentation. With the source tree of this network installed:

```python
from {{ module }} import {{ network }}

network = {{ network }}.from_pretrained("FOLDER_OR_REPOSITORY")
network.predict("{{ file }}").overlay().save("overlay.png")
```

{{ takes }}
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


class Network(Segmenter, PyTorchModelHubMixin, model_card_template=CARD, tags=["semantic-segmentation"]):
    """A segmentation network with its files and its answers: loading, saving, and the prediction for pictures.

    `about` is set once it is trained. `save_pretrained`, `push_to_hub` and `from_pretrained` are huggingface_hub's. A
    saved network is `config.json`, `model.safetensors` and `fingerprint.json`.
    """

    _hub_mixin_config: dict[str, Any] | None

    def __init__(self, num_classes: int, architecture: Any, **choices: Any) -> None:
        """Check the choices, and build.

        Args:
            num_classes: the k of the scores.
            architecture: a frozen dataclass with at least `backbone` and `align_corners`.
            choices: fields of the architecture or of its backbone that are to be others; a backbone may be a name.

        Raises:
            ValueError: if a choice is unknown or impossible.
        """
        super().__init__(num_classes, chosen(architecture, **choices))

    @property
    def about(self) -> About | None:
        """What a trained checkpoint says of itself; None for a network that was only built."""
        stored = (self._hub_mixin_config or {}).get("about")
        return from_json(About, stored) if stored else None

    @about.setter
    def about(self, about: About) -> None:
        self._hub_mixin_config = {**(self._hub_mixin_config or {}), "about": to_json(about)}

    @property
    def learned_from(self) -> Mapping[str, Any]:
        """The data set and the splits of its recipe; empty for a network that was only built."""
        about = self.about
        return about.recipe.get("data", {}) if about else {}

    @property
    def classes(self) -> Classes:
        """The classes it was trained for; numbered ones for a network that was only built."""
        about = self.about
        return about.classes if about else Classes.coloured([f"class {k}" for k in range(self.num_classes)])

    @property
    def in_channels(self) -> int:
        """How many channels its images have: 3, red, green and blue, unless its backbone says otherwise."""
        return len(self.normalisation.mean)

    def removable(self) -> Mapping[str, StandIns]:
        """What can be switched off in this network once it is trained: the modules of its paper, with stand-ins."""
        return {}

    def why_no_graph(self) -> str | None:
        """Why this network can't be exported as a graph, and what works; None if it can."""
        return None

    @contextmanager
    def without(self, part: str) -> Iterator[None]:
        """Switch a module of the paper off for a while, by its name in `removable`; see `core.networks.parts`.

        Raises:
            ValueError: if there is no such module in this network.
        """
        parts = self.removable()
        require(part in parts, unknown(f"removable part of this {type(self).__name__}", part, parts or ["none"]))
        with replaced(self, parts[part]):
            yield

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is a sequence of texts, and one path here
        self, image: Picture, protocol: Protocol | None = None, precision: Precision = "fp32"
    ) -> Prediction: ...

    @overload
    def predict(
        self, image: Sequence[Picture], protocol: Protocol | None = None, precision: Precision = "fp32"
    ) -> list[Prediction]: ...

    def predict(
        self,
        image: Picture | Sequence[Picture],
        protocol: Protocol | None = None,
        precision: Precision = "fp32",
    ) -> Prediction | list[Prediction]:
        """Segment one picture or a list of them, of any size and aspect, on the device of the network.

        Args:
            image: a path, a PIL image, a numpy array h w 3 or a tensor 3 h w, both RGB in 8 bits (OpenCV has BGR: pass
                `image[..., ::-1]`), or a list of these. Pictures are read by the rules of `core.images.reading`: a
                photograph is turned as its camera says, 16 bits become 8. Small pictures of a list go through the
                network together; the scores of all are kept, so cut a long list into parts.
            protocol: how to test it; None takes the checkpoint's own, or the whole image at once. Its own is refused
                if it asks for far more work than any paper's does (`core.networks.workload`); one that you pass is not.
            precision: of products and convolutions; fp16 needs a GPU. Scores are float32.

        Raises:
            ValueError: if a tensor or array is no picture, a file can't be read as an image, the work is too much, or
                scores are not finite.
        """
        device = next(self.parameters()).device
        require(precision in _DTYPES, unknown("precision", str(precision), _DTYPES))
        require(precision != "fp16" or device.type != "cpu", FP16)
        require(
            protocol is None or isinstance(protocol, Protocol),
            f"protocol must be a core.recipe.Protocol or None, got {protocol!r}",
        )
        several = isinstance(image, Sequence) and not isinstance(image, str | bytes)
        pictures: Any = image if several else [image]
        images = [pixels_of(each, self.in_channels) for each in pictures]
        about = self.about
        own = about.protocol if about else Protocol()
        for pixels in images:
            if protocol is None:
                refuse_excess(pixels.shape[-2], pixels.shape[-1], own)
            self._warn_of_memory(pixels, protocol or own, device)
        like = next(self.parameters())
        training = self.training
        self.eval()
        try:
            with torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32"):
                given = (self.normalisation(pixels).to(like) for pixels in images)
                answers = [scores.cpu() for scores in infer_each(self, given, protocol or own)]
        finally:
            self.train(training)
        require(
            all(bool(scores.isfinite().all()) for scores in answers),
            f"the network's scores are not finite: its numbers are too large for {precision}, or its weights unsound",
        )
        predictions = [
            Prediction(scores.argmax(0).to(torch.uint8), scores, picture_of(pixels), self.classes)
            for scores, pixels in zip(answers, images, strict=True)
        ]
        return predictions if several else predictions[0]

    def _warn_of_memory(self, pixels: Tensor, protocol: Protocol, device: torch.device) -> None:
        """Say, before anything is allocated, if an image would take more memory than there is."""
        height, width = pixels.shape[-2:]
        needed, free = memory(height, width, self.num_classes, protocol, device), free_memory(device)
        if needed > free:
            windows = (
                "" if protocol.crop else ", or pass a protocol with windows, such as Protocol(crop=768, stride=512)"
            )
            warnings.warn(
                f"an image of {width} x {height} pixels takes about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are "
                f"free on {device}: make it smaller{windows}",
                stacklevel=3,
            )

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The README.md that is saved beside the weights."""
        told = {"file": bands.example(self.in_channels), "takes": bands.taken(self.in_channels)}
        told |= {"network": type(self).__name__, "module": type(self).__module__}
        return super().generate_model_card(*args, **told, **kwargs)

    @classmethod
    def from_pretrained(
        cls: type[Kind],
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        verify: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        num_classes: int | None = None,
        map_location: str | torch.device = "cpu",
        **foreign: object,
    ) -> Kind:
        """Load a network from a folder or from the Hub: strictly, from safetensors only, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder that holds a saved network, or org/name on the Hub.
            revision: a branch, tag or commit on the Hub; a commit pins the weights, without network access if cached.
            verify: compare what it computes with the fingerprint that was saved with it.
            token: of the Hub, for a private repository; None takes the one of `hf auth login`.
            cache_dir: of the Hub's files; None takes the usual one.
            local_files_only: no network access: only what is cached, as with HF_HUB_OFFLINE=1 everywhere.
            force_download: download the files again.
            num_classes: another number than the checkpoint's leaves its classifiers out, which are then random and
                warned of by name; `about` is None.
            map_location: the device to read the weights to, such as cuda:1 or a torch.device.
            foreign: nothing; words of other libraries are refused, with what stands here in their place.

        Raises:
            ValueError: in a sentence, if there is no such checkpoint, or it is damaged, of another network, does not
                fit its own configuration, holds numbers that compute nothing (not finite, negative variances), or does
                not compute what its fingerprint says.
            OSError: if the Hub can't be reached and its cache does not hold the files.
        """
        refuse_foreign(foreign, cls.from_pretrained)
        where, device = repository.named(pretrained_model_name_or_path), device_of(map_location)
        files = [repository.CONFIG, repository.WEIGHTS] + ([repository.FINGERPRINT] if verify else [])
        folder = repository.fetch(where, files, revision, token, cache_dir, local_files_only, force_download)
        config = configuration.read(folder)
        cls.refuse_other(where, config)
        wanted = config["num_classes"] if num_classes is None else num_classes
        network = cls._read(folder, config, wanted, str(device))
        if verify:
            fingerprint.verify(network, network.normalisation, folder / repository.FINGERPRINT, where)
        return network

    @classmethod
    def refuse_other(cls, where: str, config: Mapping[str, Any]) -> None:
        """Refuse the configuration of a network of another class.

        Raises:
            ValueError: naming both.
        """
        (name,) = config["architectures"]
        kinds = [kind.__name__ for kind in cls.__mro__ if issubclass(kind, Network) and kind is not Network]
        require(
            name in kinds,  # what is derived from a network has its weights
            f"{where} holds a network of the class {name}, not {cls.__name__}; take the commands of its own paper, or "
            "hub.from_pretrained",
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights and their fingerprint, and settle what the mixin then writes as `config.json`."""
        super()._save_pretrained(save_directory)
        files.write_json(save_directory / repository.FINGERPRINT, fingerprint.take(self, self.normalisation))
        shutil.copymode(save_directory / repository.FINGERPRINT, save_directory / repository.WEIGHTS)  # was 0600
        kept = {"about": about} if (about := (self._hub_mixin_config or {}).get("about")) else {}
        self._hub_mixin_config = {
            "num_classes": self.num_classes,
            "architecture": to_json(self.architecture),
            **kept,
            "architectures": [type(self).__name__],
            "normalisation": to_json(self.normalisation),
        }

    @classmethod
    def _read(cls: type[Kind], folder: Path, config: Mapping[str, Any], num_classes: int, map_location: str) -> Kind:
        """Load strictly. Names and shapes are compared first, with a network that occupies no memory."""
        path = folder / repository.WEIGHTS
        try:
            architecture = from_json(get_type_hints(cls.__init__)["architecture"], config["architecture"])
            with torch.device("meta"):
                made = cls(config["num_classes"], architecture)
            about = from_json(About, config["about"]) if config.get("about") else None
            normalisation = from_json(Normalisation, config["normalisation"])
            given = len(normalisation.mean)
            require(
                given == made.in_channels,
                f"its normalisation is for {given} channels, and its backbone takes {made.in_channels}",
            )
        except ValueError as error:
            raise ValueError(f"{folder / repository.CONFIG} is no configuration of a network: {error}") from error
        expected = weights.shapes(made.state_dict())
        fits = f"{path} does not fit the {cls.__name__} of its {repository.CONFIG}"
        weights.refuse_misfits(fits, expected, weights.read_shapes(path))
        if about is not None and len(about.classes) != config["num_classes"]:
            raise ValueError(f"{folder} names {len(about.classes)} classes for {config['num_classes']} scores")

        state = safetensors.torch.load_file(path, device=map_location)
        weights.refuse_unsound(str(path), state)

        network = cls(num_classes, architecture)
        dropped = weights.load_matching(network, state)
        network.normalisation = normalisation
        if dropped:
            warnings.warn(
                f"{folder} is for {config['num_classes']} classes, not {num_classes}: its classifiers are left out "
                f"and stay random ({errors.listed(dropped)})",
                stacklevel=3,
            )
        elif about is not None:
            network.about = about
        return network.to(map_location).eval()
