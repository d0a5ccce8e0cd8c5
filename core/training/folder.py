"""The folder of a run: how it is called, and what lies in it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from core.recipe import Recipe
from core.run import Run
from core.training.lock import LOCK
from core.values import differences

STATE = "state.pt"
PREVIOUS = "state.previous.pt"
SCORE = "score.json"
METRICS = "metrics.jsonl"
COMMAND = "run.json"
BEST = "best"


def folder_of(recipe: Recipe[Any], run: Run, published: Recipe[Any], weights: str) -> Path:
    """The folder of a run: `--name`, or the row's name if nothing was changed, or a name that says what was.

    Another data set gives `ROW-on-DATASET-123abc`, another change `ROW-changed-123abc`; the digits are those of the
    changes, so each change has a folder of its own. `weights` says whose ImageNet weights it begins with.
    """
    if run.name is not None:
        return run.to / run.name
    changed = differences(published, recipe)
    if weights != recipe.backbone_weights:
        changed["backbone_weights"] = (recipe.backbone_weights, weights)
    if not changed:
        return run.to / recipe.name
    digits = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6]
    data = recipe.data.name.replace(":", "-").replace("/", "-")
    word = "changed" if recipe.data.name == published.data.name else f"on-{data}"
    return run.to / f"{recipe.name}-{word}-{digits}"


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder without a state that holds more than a run leaves that was stopped before its first one.

    Raises:
        ValueError: if there is anything else.
    """
    files = folder.iterdir() if folder.is_dir() else ()  # another machine may see another disk
    visible = [path.name for path in files if path.name != LOCK and path.suffix != ".part"]
    begun = METRICS in visible and SCORE not in visible
    if visible and not begun and visible != [COMMAND]:
        raise ValueError(
            f"{folder} holds files but no {STATE} to go on from; pass --restart to rename it and start over, or "
            "another --name or --to"
        )


def rename_old(folder: Path) -> None:
    """Rename a folder to the first free one of NAME.1, NAME.2, ..."""
    number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}.{n}").exists())
    folder.rename(folder.with_name(f"{folder.name}.{number}"))
