"""How weights came about, as a card tells it: the command, the time, and what was changed in the recipe."""

import shlex
from typing import Any

from core import datasets
from hub.markdown import code, fence, plain
from hub.networks import ORIGIN
from hub.publication import BACKBONE_WEIGHTS, STARTS_FROM, Publication


def history(publication: Publication) -> list[str]:
    """The paragraphs under "Training"."""
    changed = publication.changed
    if ORIGIN in changed:
        told = [f"Not trained by this source tree: {plain(changed[ORIGIN][1])}."]
    else:
        told = [fence(training_command(publication), "bash"), *_circumstances(publication.scores[0][1])]
    if publication.comparable:
        return ["## Training", *told, *([] if changed else ["Nothing was changed in the published recipe."])]
    lines = [f"- {code(name)}: {plain(old)} -> {plain(new)}" for name, (old, new) in changed.items() if name != ORIGIN]
    sentence = "This is not the published recipe, whose reported number it can't be compared with:"
    return ["## Training", *told, sentence, "\n".join(lines)]


def _circumstances(score: dict[str, Any]) -> list[str]:
    """How long it took and with which seed, where the run says so itself."""
    told = []
    if "training_seconds" in score:
        processes = score.get("processes", 1)
        hardware = plain(score.get("training_hardware", score["hardware"]))  # a bundled network is tested elsewhere
        where = f"{hardware} ({_precision(score)}, {processes} process{'es' if processes > 1 else ''})"
        told.append(f"It took {duration(score['training_seconds'])} on {where}.")
    if "seed" in score:
        told.append(f"The seed was {score['seed']}.")
    return [" ".join(told)] if told else []


def _precision(score: dict[str, Any]) -> str:
    """In which precision it was trained: a bundled network is tested in another, and its score says both."""
    return score.get("training_precision", score.get("precision", "fp32"))


def duration(seconds: int) -> str:
    """A time in its two largest units."""
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def training_command(publication: Publication) -> str:
    """The command that trains this checkpoint, with every option that was not the recipe's."""
    score = publication.scores[0][1]
    processes = score.get("processes", 1)
    words = ["accelerate launch", *([f"--num_processes {processes}"] if processes > 1 else [])]
    words.append(f"papers/{publication.paper.folder}/train.py {publication.recipe.name}")
    if datasets.find(publication.about.recipe["data"]["name"]).in_folder:
        words.append("--data DIR")
    words += [_option(name, used) for name, (_, used) in publication.changed.items()]
    words += [f"--run.seed {score['seed']}"] if score.get("seed") else []
    words += [f"--run.precision {_precision(score)}"] if _precision(score) != "fp32" else []
    return " ".join(words)


def _option(name: str, value: Any) -> str:
    """A changed field as an option of the training command."""
    if name == STARTS_FROM:
        return "--starts-from FIRST_RUN"
    if name == BACKBONE_WEIGHTS:
        return f"--backbone-weights {value if value in ('hub', 'none') else 'FILE'}"
    path = f"recipe.{name}".replace("_", "-")
    if isinstance(value, bool):
        group, _, last = path.rpartition(".")
        return f"--{path}" if value else f"--{group}.no-{last}"
    values = value if isinstance(value, list) else [value]
    return " ".join([f"--{path}", *(shlex.quote(" ".join(str(each).split())) for each in values)])
