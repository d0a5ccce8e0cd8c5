"""The model card of a published checkpoint, and its results in the two forms that the Hub reads.

Every number comes from the recipe (reported) or from a score that a test wrote (measured); none is typed here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from huggingface_hub import (
    EvalResult,
    EvalResultEntry,
    ModelCard,
    ModelCardData,
    constants,
    eval_result_entries_to_yaml,
)
from huggingface_hub.utils import yaml_dump

import papers
from core import datasets
from core.networks import backbones
from core.networks.network import About
from core.paper import Paper
from core.recipe import Protocol, Recipe, WeightsSource
from hub.networks import ORIGIN

METRICS = {"mIoU": ("mean_iou", "mean_iou"), "pixel accuracy": ("pixel_accuracy", "accuracy")}
"""By the metric of a reported number: its name in score.json, and the Hub's."""

STARTS_FROM = "starts_from"
"""What is recorded as changed if the training began with other trained weights than the recipe says."""

BACKBONE_WEIGHTS = "backbone_weights"
"""What is recorded as changed if it began with other weights of the backbone."""

Changes = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Publication:
    """What a card tells of: weights of one recipe, what was changed in it, and their scores.

    `repository` is org/name on the Hub, or the name of a shipped network. `recipe` is as it was used, `changed` is how
    that differs from the published one. `scores` holds score.json first, then those of rows that test the same weights
    in another way; each is a pair of the recipe of the row and the JSON that the test wrote.
    """

    repository: str
    paper: Paper
    recipe: Recipe[Any]
    about: About
    changed: Changes
    scores: tuple[tuple[Recipe[Any], dict[str, Any]], ...]

    @property
    def data(self) -> str:
        """The data set of the training as the Hub is told of it."""
        return self.about.recipe["data"]["name"].rpartition(":")[2]

    @property
    def began_with(self) -> str | None:
        """Whose trained weights the training began with, if not a backbone's."""
        return self.changed.get(STARTS_FROM, (None, self.recipe.starts_from))[1]

    @property
    def comparable(self) -> bool:
        """Whether the reported number is one for weights such as these: nothing but their origin was changed."""
        return not self.changed.keys() - {ORIGIN}

    @property
    def url(self) -> str:
        """The page of the repository."""
        return f"{constants.ENDPOINT}/{self.repository}"

    def name_of(self, row: Recipe[Any]) -> str:
        """How a row is called: not by the name of a recipe that was changed."""
        return row.name if self.comparable else f"{row.name}, changed"

    def file_of(self, row: Recipe[Any]) -> str:
        """The file of the repository that holds the score of a row."""
        return "score.json" if row.name == self.recipe.name else f"score-{row.name}.json"


def card(publication: Publication) -> ModelCard:
    """The README.md of the repository: metadata with `model-index`, and the text."""
    return ModelCard(f"---\n{_metadata(publication).to_yaml()}\n---\n\n{text(publication)}")


def eval_results(publication: Publication) -> str:
    """The text of `.eval_results/NAME.yaml`: an entry for each metric of each score."""
    entries = [
        EvalResultEntry(
            dataset_id=publication.data,
            task_id=key,
            value=score[key],
            date=score["date"],
            source_url=f"{publication.url}/blob/main/{publication.file_of(recipe)}",
            source_name=publication.file_of(recipe),
            notes=f"{publication.name_of(recipe)}: {score['split']} split, {in_words(recipe.protocol)}",
        )
        for recipe, score in publication.scores
        for key, _ in METRICS.values()
    ]
    return yaml_dump(eval_result_entries_to_yaml(entries))


def _metadata(publication: Publication) -> ModelCardData:
    licence = datasets.find(publication.about.recipe["data"]["name"]).licence
    results = [
        EvalResult(
            task_type="image-segmentation",
            task_name=f"semantic segmentation, {in_words(recipe.protocol)}",
            dataset_type=publication.data,
            dataset_name=licence.title,
            dataset_split=score["split"],
            metric_type=kind,
            metric_name=f"{name} (%), {publication.name_of(recipe)}",
            metric_value=score[key],
            source_name=publication.file_of(recipe),
            source_url=f"{publication.url}/blob/main/{publication.file_of(recipe)}",
        )
        for recipe, score in publication.scores
        for name, (key, kind) in METRICS.items()
    ]
    return ModelCardData(
        model_name=publication.repository.split("/")[-1],
        library_name="attention-segmentation",
        pipeline_tag="image-segmentation",
        license=licence.name,
        license_name=f"{publication.data.split('/')[-1]}-terms".lower() if licence.name == "other" else None,
        license_link=(licence.link or f"{publication.url}#licence") if licence.name == "other" else None,
        base_model=_base(publication),
        datasets=[publication.data],
        metrics=[kind for _, kind in METRICS.values()],
        tags=["semantic-segmentation", "pytorch", publication.paper.folder],
        eval_results=results,
    )


def _base(publication: Publication) -> str | None:
    """The repository of the ImageNet weights that the recipe begins with, if it begins with those of a backbone."""
    recipe = publication.recipe
    backbone: backbones.Backbone = recipe.architecture.backbone
    used = publication.about.recipe.get(BACKBONE_WEIGHTS)
    source = used if used in recipe.also_weights else recipe.backbone_weights
    source = publication.changed.get(BACKBONE_WEIGHTS, (None, source))[1]
    public = source in get_args(WeightsSource) and publication.began_with is None
    return backbones.on_hub(backbone, source) if public else None


def text(publication: Publication) -> str:
    """The text of the card. A name without an organisation is that of a shipped network, which has no revisions."""
    paper, recipe, about = publication.paper, publication.recipe, publication.about
    title, citation = _of_paper(paper)
    licence = datasets.find(about.recipe["data"]["name"]).licence
    base = _base(publication)
    origin = f"trained by the source tree at commit {about.commit}"
    if ORIGIN in publication.changed:
        origin = f"{publication.changed[ORIGIN][1]}, by the source tree at commit {about.commit}"
    if publication.began_with is not None:
        origin += f", beginning with the weights of `{publication.began_with}`"
    sections = [
        f"# {publication.repository.split('/')[-1]}",
        f"{title}. This {paper.network.__name__} belongs to an independent reproduction: recipe "
        f"`{publication.name_of(recipe)}` ({recipe.summary}), {len(about.classes)} classes, {origin}.",
        "## Use",
        f'```python\nimport hub\n\nnetwork = hub.from_pretrained("{publication.repository}")\n'
        'result = network.predict("photo.jpg")\nresult.overlay().save("overlay.png")\n```',
        "`result.labels` is the label map, `result.probabilities` how sure it is, `result.classes` the names and "
        f"colours. For files and folders: `python -m hub.predict {publication.repository} IMAGE... --to DIR`. "
        + ("Pin it with `revision=COMMIT`; " if "/" in publication.repository else "")
        + "`verify=True` compares it with its fingerprint. Needs the source tree of this network "
        "(`pip install -e .` there); only safetensors and JSON are read.",
        "## Results",
        results(publication),
        _circumstances(publication),
        "### IoU per class",
        _per_class(publication),
        "## Training",
        *_training(publication),
        "## Licence",
        f"The code is under Apache-2.0. Trained on {licence.title}: {licence.terms}"
        + (f" See <{licence.link}>." if licence.link else "")
        + (f" Its recipe starts from ImageNet weights, which have terms of their own: `{base}`." if base else ""),
        "## Limits",
        f"It knows the {len(about.classes)} classes above and gives every pixel one of them, also where none fits. It "
        f"has learned from {licence.title} alone: other cameras, places, weather or seasons lower its accuracy by an "
        "amount that was not measured. Its probabilities were not calibrated. How weak it is on a class, its IoU says. "
        "Do not let it decide where an error could hurt someone.",
        "## Cite",
        citation,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _of_paper(paper: Paper) -> tuple[str, str]:
    """The title and the citation in the paper's README."""
    text = Path(papers.__path__[0], paper.folder, "README.md").read_text(encoding="utf-8")
    title, citation = re.search(r"^# (.+)$", text, re.MULTILINE), re.search(r"```bibtex\n.*?```", text, re.DOTALL)
    if title is None or citation is None:
        raise ValueError(f"papers/{paper.folder}/README.md needs a title and a bibtex block, which the card repeats")
    return title[1], citation[0]


def results(publication: Publication) -> str:
    """The table of reported and measured numbers, in percent; a number that was not measured is an empty cell.

    A reported number stands there only if nothing was changed in the recipe.
    """
    lines = ["| row | metric | split | protocol | reported | measured |", "|---|---|---|---|---|---|"]
    for recipe, score in publication.scores:
        reported = recipe.reported if publication.comparable else ()
        cells: list[tuple[str, str, str]] = [
            (row.metric, row.split, f"{row.value:.2f} ({row.paper}, {row.table})") for row in reported
        ]
        known = {metric for metric, split, _ in cells if split == score["split"]}
        cells += [(metric, score["split"], "none") for metric in METRICS if metric not in known]
        for metric, split, value in cells:
            measured = f"{score[METRICS[metric][0]]:.2f}" if split == score["split"] else ""
            words = (f"`{publication.name_of(recipe)}`", metric, split, in_words(recipe.protocol), value, measured)
            lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def _circumstances(publication: Publication) -> str:
    """How each score was measured."""
    return "\n".join(
        f"- `{publication.name_of(recipe)}`: {score['date']}, commit {score['commit']}, {score['hardware']}, "
        f"{score['pixels']:,} labelled pixels"
        for recipe, score in publication.scores
    )


def _per_class(publication: Publication) -> str:
    heads = " | ".join(f"`{publication.name_of(recipe)}`" for recipe, _ in publication.scores)
    lines = [f"| class | {heads} |", f"|---|{'---|' * len(publication.scores)}"]
    for name in publication.about.classes.names:
        values = [score["iou"][name] for _, score in publication.scores]
        lines.append(f"| {name} | {' | '.join('absent' if value is None else f'{value:.2f}' for value in values)} |")
    return "\n".join(lines)


def in_words(protocol: Protocol) -> str:
    """A protocol as it stands in a table."""
    words = ["whole image" if protocol.crop is None else f"windows of {protocol.crop} in steps of {protocol.stride}"]
    if protocol.base is not None:
        words.append(f"{protocol.edge} edge {protocol.base}")
    if protocol.limit is not None:
        words.append(f"longest side at most {protocol.limit}")
    if protocol.multiple > 1:
        words.append(f"sides rounded up to multiples of {protocol.multiple}")
    words.append("one scale" if protocol.scales == (1.0,) else f"scales {' '.join(f'{s:g}' for s in protocol.scales)}")
    words += ["mirrored"] if protocol.flip else []
    words += ["last windows padded"] if protocol.border == "padded" else []
    words += ["merged by exp"] if protocol.merge == "exp" else []
    return ", ".join(words)


def training_command(publication: Publication) -> str:
    """The command that trains this checkpoint, with every option that was not the recipe's."""
    score = publication.scores[0][1]
    processes = score.get("processes", 1)
    words = ["accelerate launch", *([f"--num_processes {processes}"] if processes > 1 else [])]
    words.append(f"papers/{publication.paper.folder}/train.py {publication.recipe.name}")
    data = publication.about.recipe["data"]["name"]
    if data != "scenes" and ":" not in data:
        words.append("--data DIR")
    words += [_option(name, used) for name, (_, used) in publication.changed.items()]
    words += [f"--run.seed {score['seed']}"] if score.get("seed") else []
    words += [f"--run.precision {score['precision']}"] if score.get("precision", "fp32") != "fp32" else []
    return " ".join(words)


def _option(name: str, value: Any) -> str:
    """A changed field as an option of the training command."""
    if name == STARTS_FROM:
        return "--starts-from DIR"
    if name == BACKBONE_WEIGHTS:
        return f"--backbone-weights {value if value in ('hub', 'none') else 'FILE'}"
    path = f"recipe.{name}".replace("_", "-")
    if isinstance(value, bool):
        group, _, last = path.rpartition(".")
        return f"--{path}" if value else f"--{group}.no-{last}"
    return f"--{path} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def _training(publication: Publication) -> list[str]:
    """How the weights came about, and how that differs from the recipe."""
    changed = publication.changed
    if ORIGIN in changed:
        how = f"Not trained by this source tree: {changed[ORIGIN][1]}."
    else:
        how = f"```bash\n{training_command(publication)}\n```"
    if publication.comparable:
        return [how] if changed else [how, "Nothing was changed in the published recipe."]
    lines = [f"- `{name}`: {old} -> {new}" for name, (old, new) in changed.items() if name != ORIGIN]
    return [how, "This is not the published recipe, whose reported number it can't be compared with:", "\n".join(lines)]
