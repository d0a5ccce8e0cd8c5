"""An architecture with other choices, by the names of its fields."""

from dataclasses import fields, is_dataclass
from typing import Any

from core.errors import require, unknown
from core.networks.backbones import Backbone
from core.values import from_json, to_json


def chosen(architecture: Any, **choices: Any) -> Any:
    """An architecture with some of its fields, or of its backbone's, replaced, and all of them checked.

    A backbone may be a name; it then has the output stride of the architecture's.

    Raises:
        ValueError: naming the allowed fields or words, if one is unknown.
    """
    require(
        is_dataclass(architecture),
        f"architecture must be an Architecture of the network's paper, got {architecture!r}; the name of a backbone is "
        "a word of its own, such as backbone='resnet18'",
    )
    names = [field.name for field in fields(architecture)]
    of_backbone = [field.name for field in fields(Backbone) if field.name not in (*names, "name")]
    for name in choices:
        require(
            name in (*names, *of_backbone),
            unknown(f"choice of {type(architecture).__module__}", name, (*names, *of_backbone)),
        )
    changes = {name: choices.pop(name) for name in of_backbone if name in choices}
    backbone = to_json(choices.pop("backbone", architecture.backbone))
    if isinstance(backbone, str):
        backbone = {"name": backbone, "output_stride": architecture.backbone.output_stride}
    if isinstance(backbone, dict):
        backbone |= to_json(changes)
    values = to_json(architecture) | to_json(choices) | {"backbone": backbone}
    return from_json(type(architecture), values)
