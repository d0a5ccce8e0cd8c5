"""What `config.json` says of a network, refused where it could not be meant.

A folder that `transformers` saved, perhaps after training on (`model.save_pretrained`, `Trainer.save_model`), is read
too: its configuration is turned into one of ours.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import require
from core.images.classes import Classes
from core.networks.repository import CONFIG
from core.recipe import Protocol
from core.values import from_json, to_json

LARGEST_NUMBER = 8192
"""No number in a configuration is larger: not a width, a dilation, a window, nor the side of an image."""

LARGEST_SCALE = 8.0
"""An image is never enlarged more than this by the protocol of a checkpoint."""

LONGEST, DEEPEST = 1 << 20, 32
"""A configuration is at most this long, in bytes, and its tables and lists stand at most so deep in one another."""

DOOR = "ForSemanticSegmentation"
"""What transformers' class of a network has after the name of ours (`hub.doors`)."""

TRAINED_ON = "trained_on"
"""What is recorded as changed in weights that another library saved, which may have trained them on."""

UNNAMED = {"0": "LABEL_0", "1": "LABEL_1"}
"""What transformers means where it names no classes."""


def read(folder: Path) -> dict[str, Any]:
    """Read a configuration and refuse what could not be meant; nothing of its size is allocated.

    Returns:
        `architectures`, the class of the network, `num_classes`, `architecture`, `normalisation` and perhaps `about`.

    Raises:
        ValueError: if the file is damaged, names no network, or asks for absurd sizes.
    """
    path = folder / CONFIG
    try:
        require(path.stat().st_size <= LONGEST, f"it has more than {LONGEST} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
        require(isinstance(config, dict), "it must be a table")
        names = config["architectures"]
        if not (isinstance(names, list) and len(names) == 1 and isinstance(names[0], str)):
            raise ValueError(f"it must name one network in 'architectures', got {names!r}")
        require(_depth(config) <= DEEPEST, f"its tables and lists stand more than {DEEPEST} deep in one another")
        if names[0].endswith(DOOR):
            config = _of_transformers(config, names[0])
        about = config.get("about") or {}
        require(isinstance(about, dict), "about must be a table")
        if type(config["num_classes"]) is not int or not isinstance(config["architecture"], dict):
            raise ValueError("num_classes must be a whole number and architecture a table")
        if not isinstance(config["normalisation"], dict):
            raise ValueError("normalisation must be a table")
        recipe = about.get("recipe") or {}
        require(isinstance(recipe, dict), "about.recipe must be a table")
        require(isinstance(recipe.get("data", {}), dict), "about.recipe.data must be a table")
        protocol = about.get("protocol") or {}
        _refuse_absurd({name: config[name] for name in ("num_classes", "architecture")} | {"protocol": protocol})
        scales = from_json(Protocol, protocol).scales
        if max(scales) > LARGEST_SCALE:
            raise ValueError(f"protocol.scales must be at most {LARGEST_SCALE}, got {scales}")
    except KeyError as error:
        raise ValueError(f"{path} is no configuration of a network: it has no {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no configuration of a network: {error}") from error
    return config


def _depth(value: Any) -> int:
    """How deep tables and lists stand in one another; 0 for a plain value."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def _of_transformers(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Ours, of a network that transformers saved: its classes may be others, and its weights not the recipe's.

    Raises:
        ValueError: if it is no network of ours, or its classes are not named from 0 on.
    """
    require("architecture" in config, f"{name} is of another library; load it with that")
    labels = config.get("id2label", UNNAMED)
    numbers = [str(label) for label in range(len(labels))] if isinstance(labels, dict) else []
    require(
        bool(numbers) and set(labels) == set(numbers) and all(isinstance(word, str) for word in labels.values()),
        "id2label must name each class, by numbers from 0 on",
    )
    about = config.get("about") or {"protocol": {}, "classes": {}}
    words = [labels[number] for number in numbers]
    classes = about["classes"] if about["classes"].get("names") == words else to_json(Classes.coloured(words))
    saved = f"saved by transformers {config.get('transformers_version', 'of an unknown release')}"
    changed = {**about.get("changed", {}), TRAINED_ON: ["no", saved]}
    return {
        "architectures": [name.removesuffix(DOOR)],
        "num_classes": len(words),
        "architecture": config["architecture"],
        "normalisation": config["normalisation"],
        "about": {**about, "classes": classes, "changed": changed},
    }


def _refuse_absurd(value: Any, name: str = "") -> None:
    """Refuse numbers and lists so large that a network or a prediction with them would exhaust the memory."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_absurd(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        if len(value) > 255:
            raise ValueError(f"{name} must have at most 255 entries, got {len(value)}")
        for item in value:
            _refuse_absurd(item, name)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"{name} must be at most {LARGEST_NUMBER}, got {value}")
