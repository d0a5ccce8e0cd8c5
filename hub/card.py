"""The model card of a published checkpoint: its metadata and its text."""

import re
from pathlib import Path
from typing import get_args

from huggingface_hub import ModelCard, ModelCardData

import papers
from core.networks import backbones
from core.networks.pretrained import on_hub
from core.paper import Paper
from core.recipe import WeightsSource
from hub.history import history
from hub.markdown import code, plain
from hub.networks import ORIGIN
from hub.publication import BACKBONE_WEIGHTS, METRICS, PICTURE, Publication
from hub.results import circumstances, model_index, per_class, results
from hub.usage import usage


def card(publication: Publication) -> ModelCard:
    """The README.md of the repository: metadata with `model-index`, and the text."""
    return ModelCard(f"---\n{_metadata(publication).to_yaml()}\n---\n\n{text(publication)}")


def _metadata(publication: Publication) -> ModelCardData:
    licence = publication.terms
    return ModelCardData(
        model_name=publication.repository.split("/")[-1],
        library_name="attention-segmentation",
        pipeline_tag="image-segmentation",
        license=licence.name,
        license_name=f"{publication.data.split('/')[-1]}-terms".lower() if licence.name == "other" else None,
        license_link=(licence.link or f"{publication.url}#licence") if licence.name == "other" else None,
        base_model=_base(publication),
        datasets=None if licence.own and not publication.on_hub else [publication.data],
        metrics=[kind for _, kind in METRICS.values()],
        tags=["semantic-segmentation", "pytorch", "transformers", publication.paper.folder],
        eval_results=model_index(publication),
    )


def _base(publication: Publication) -> str | None:
    """The repository of the ImageNet weights that the recipe begins with, if it begins with those of a backbone."""
    recipe = publication.recipe
    backbone: backbones.Backbone = recipe.architecture.backbone
    used = publication.about.recipe.get(BACKBONE_WEIGHTS)
    source = used if used in recipe.also_weights else recipe.backbone_weights
    source = publication.changed.get(BACKBONE_WEIGHTS, (None, source))[1]
    public = source in get_args(WeightsSource) and publication.began_with is None
    return on_hub(backbone, source) if public else None


def text(publication: Publication) -> str:
    """The text of the card. A name without an organisation is that of a bundled network, which has no revisions."""
    _, citation = _of_paper(publication.paper)
    sections = [
        f"# {publication.repository.split('/')[-1]}",
        _introduction(publication),
        f"![an image and what the network makes of it]({PICTURE})" if PICTURE in publication.files else "",
        *usage(publication),
        "## Results",
        results(publication),
        circumstances(publication),
        "### IoU per class",
        per_class(publication),
        *history(publication),
        *_licence(publication),
        *_limits(publication),
        "## Cite",
        citation,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _introduction(publication: Publication) -> str:
    paper, recipe, about = publication.paper, publication.recipe, publication.about
    title, _ = _of_paper(paper)
    origin = f"trained by the source tree at commit {about.commit}"
    if ORIGIN in publication.changed:
        origin = f"{plain(publication.changed[ORIGIN][1])}, by the source tree at commit {about.commit}"
    if publication.began_with == recipe.name:
        origin += (
            ", beginning with what the same recipe had trained before (FIRST_RUN below, which is not part of this)"
        )
    elif publication.began_with is not None:
        origin += f", beginning with the weights of {code(publication.began_with)}"
    return (
        f"{title}. This {paper.network.__name__} belongs to an independent reproduction: recipe "
        f"{code(publication.name_of(recipe))} ({publication.summary}), {len(about.classes)} classes, {origin}."
    )


def _licence(publication: Publication) -> list[str]:
    licence, base = publication.terms, _base(publication)
    return [
        "## Licence",
        f"The code is under Apache-2.0. Trained on {plain(licence.title)}: {plain(licence.terms)}"
        + (f" See <{licence.link}>." if licence.link else "")
        + (f" Its recipe starts from ImageNet weights, which have terms of their own: `{base}`." if base else ""),
    ]


def _limits(publication: Publication) -> list[str]:
    return [
        "## Limits",
        f"It knows the {len(publication.about.classes)} classes above and gives every pixel one of them, also where "
        f"none fits. It has learned from {plain(publication.terms.title)} alone. "
        + (f"It has never seen {publication.unseen}. " if publication.unseen else "")
        + "Other cameras, places, weather or seasons lower its accuracy by an amount that was not measured. Its "
        "probabilities were not calibrated. Its IoU shows how weak it is on a class. Do not let it decide where an "
        "error could hurt someone.",
    ]


def _of_paper(paper: Paper) -> tuple[str, str]:
    """The title and the citation in the paper's README."""
    text = Path(papers.__path__[0], paper.folder, "README.md").read_text(encoding="utf-8")
    title, citation = re.search(r"^# (.+)$", text, re.MULTILINE), re.search(r"```bibtex\n.*?```", text, re.DOTALL)
    if title is None or citation is None:
        raise ValueError(f"papers/{paper.folder}/README.md needs a title and a bibtex block, which the card repeats")
    return title[1], citation[0]
