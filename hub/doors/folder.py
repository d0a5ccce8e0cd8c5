"""What a published folder has for transformers: a modelling file, keys of config.json, and an image processor."""

from pathlib import Path
from typing import Any

from core import files
from core.networks import repository
from core.networks.network import Network
from core.networks.segmenter import Segmenter
from core.paper import Paper
from hub.doors.sources import Place
from hub.doors.standalone import Standalone

PROCESSOR = "preprocessor_config.json"

HEADING = '''"""{name} for transformers. Made from the sources of its authors; change those, not this file.

    AutoModelForSemanticSegmentation.from_pretrained(REPOSITORY, trust_remote_code=True)

It needs torch, timm, einops and transformers. Under Apache-2.0, as the sources are.
"""
'''

ENDING = '''

class {name}Config({settings}):
    """What config.json says of a {name}."""

    model_type = "{folder}"


class {name}ForSemanticSegmentation({door}, {network}, PreTrainedModel):
    """{name} as a model of transformers."""

    config_class = {name}Config
    kind = {architecture}
    objective = staticmethod({objective})
'''

LOSS_WEIGHTS = """    loss_weights = staticmethod({weights})
"""


def added(paper: Paper) -> tuple[str, str]:
    """The names of the files that `write` adds."""
    return f"{_module(paper)}.py", PROCESSOR


def write(folder: Path, paper: Paper, network: Network) -> None:
    """Add to a folder, which has a network's config.json, what transformers needs.

    Raises:
        ValueError: if our sources can't stand in one file.
    """
    config = {**files.read_json(folder / repository.CONFIG), **keys(paper, network)}
    files.write_json(folder / repository.CONFIG, config)
    files.write_json(folder / PROCESSOR, processor(network))
    (folder / f"{_module(paper)}.py").write_text(modelling(paper, type(network.architecture)), encoding="utf-8")


def modelling(paper: Paper, architecture: type[Any]) -> str:
    """The modelling file of a paper: its network, its loss and a door for transformers, from our sources.

    Raises:
        ValueError: if these can't stand in one file.
    """
    wanted = {
        "settings": Place("hub.doors.door", "Settings"),
        "door": Place("hub.doors.door", "Door"),
        "network": _place(paper.network),
        "architecture": _place(architecture),
        "objective": _place(paper.loss),
    }
    ending = ENDING
    if paper.loss_weights is not None:
        wanted["weights"], ending = _place(paper.loss_weights), ENDING + LOSS_WEIGHTS
    made = Standalone({_place(Network): _place(Segmenter)})
    for place in wanted.values():
        made.reach(place)
    names = {word: made.called(place) for word, place in wanted.items()}
    name = paper.network.__name__
    return HEADING.format(name=name) + made.text() + ending.format(name=name, folder=paper.folder, **names)


def keys(paper: Paper, network: Network) -> dict[str, Any]:
    """What config.json has for transformers and the Hub's page beside what it has for us."""
    name, module = paper.network.__name__, _module(paper)
    return {
        "model_type": paper.folder,
        "auto_map": {
            "AutoConfig": f"{module}.{name}Config",
            "AutoModelForSemanticSegmentation": f"{module}.{name}ForSemanticSegmentation",
        },
        "id2label": {str(label): word for label, word in enumerate(network.classes.names)},
        "label2id": {word: label for label, word in enumerate(network.classes.names)},
    }


def processor(network: Network) -> dict[str, Any]:
    """What preprocessor_config.json says: 8-bit images are normalised as here, and keep their size."""
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(network.normalisation.mean),
        "image_std": list(network.normalisation.std),
        "do_reduce_labels": False,
    }


def _module(paper: Paper) -> str:
    return f"modeling_{paper.folder}"


def _place(value: Any) -> Place:
    return Place(value.__module__, value.__name__)
