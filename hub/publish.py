"""Publish a run: python -m hub.publish RECIPE RUN_FOLDER --repo ORG/NAME [--dry-run]

Writes the folder of the repository (weights, configuration, fingerprint, score, model card, results, and a modelling
file for transformers), opens it where this code can't be imported, compares, and uploads it in one commit; a dry run
does all but the last. A run whose recipe was changed is refused under the name of a recipe.
"""

import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from huggingface_hub import HfApi
from PIL import Image

import papers
from core import datasets, errors, files
from core.errors import door, require
from core.images.reading import Source, open_rgb
from core.images.sheets import contact_sheet
from core.networks import repository
from core.networks.configuration import TRAINED_ON
from core.networks.network import About, Network
from core.paper import Paper
from core.recipe import Recipe
from core.training.folder import SCORE
from core.values import differences, from_json
from hub import card, export, results
from hub.doors import check, folder
from hub.publication import ONNX, PICTURE, Changes, Publication

COPIED = (repository.CONFIG, repository.WEIGHTS, repository.FINGERPRINT, SCORE)
CARD = "README.md"
RESULTS = ".eval_results"


@dataclass(frozen=True)
class Options:
    """What to publish, and where."""

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="the recipe that was trained")]
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="the run folder, with its score.json")]
    repo: Annotated[str, tyro.conf.arg(help="ORG/NAME on the Hub; made if it is not there")]
    score: Annotated[
        tuple[Path, ...],
        tyro.conf.arg(help="scores of rows that test the same weights in another way, as evaluate.py --to writes them"),
    ] = ()
    dry_run: Annotated[bool, tyro.conf.arg(help="write the folder and upload nothing")] = False
    to: Annotated[Path | None, tyro.conf.arg(help="the folder to write; None: RUN_FOLDER/repository")] = None
    private: Annotated[bool, tyro.conf.arg(help="a new repository opens to its owners only")] = False
    onnx: Annotated[bool, tyro.conf.arg(help="add model.onnx, as hub.export writes it")] = False
    picture: Annotated[
        Path | None,
        tyro.conf.arg(help="an image that you may pass on: the card shows it and what the network makes of it"),
    ] = None
    data_name: Annotated[str | None, tyro.conf.arg(help="what your own data is called, for the card")] = None
    licence: Annotated[
        str | None, tyro.conf.arg(help="of weights from your own data, as the Hub calls it, such as cc-by-4.0")
    ] = None

    def __post_init__(self) -> None:
        require(
            self.licence is None or re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.licence) is not None,
            f"--licence is a word as the Hub calls it, such as cc-by-4.0 or apache-2.0, got {self.licence!r}",
        )
        require(
            self.data_name is None or self.data_name.strip() != "", "--data-name is empty; say what the data is called"
        )
        require(
            self.picture is None or self.picture.is_file(), f"--picture {self.picture} is not a file; give an image"
        )
        if self.onnx:
            export.refuse_missing_packages()


def gather(options: Options) -> Publication:
    """Check that the run may be published as asked, and collect what the card tells.

    Raises:
        ValueError: if the name is no org/name or promises another row, the run has no score or one of other weights,
            its recipe is another or was changed and has the name of a row, the weights fail their fingerprint, or
            another library saved them.
    """
    paper = papers.paper_of(options.recipe)
    recipe = paper.recipes[options.recipe]
    if recipe.same_weights_as:
        raise ValueError(
            f"{recipe.name!r} only tests the weights of {recipe.same_weights_as!r}: publish that one, with --score and "
            "the file that evaluate.py --to wrote"
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repo):
        raise ValueError(f"--repo must be ORG/NAME, got {options.repo!r}")
    measured = files.read_json(options.run / SCORE)
    if measured is None:
        raise ValueError(
            f"{options.run} has no {SCORE}; a run writes it when it ends, and so does evaluate.py {recipe.name} "
            f"--weights {options.run} --to {options.run / SCORE}"
        )
    network = paper.network.from_pretrained(options.run, verify=True)
    about = network.about
    if about is None or about.recipe.get("name") != recipe.name:
        trained = about.recipe.get("name") if about else None
        raise ValueError(f"{options.run} was trained by the recipe {trained!r}, not {recipe.name!r}")

    if TRAINED_ON in about.changed:
        raise ValueError(
            f"{options.run} was {about.changed[TRAINED_ON][1]}, which may have trained it on, with other data too, and "
            "a card could not tell; publish it with push_to_hub of transformers, and a card of your own"
        )
    used, changed = as_used(recipe, about)
    _refuse_name(options.repo, recipe, changed)
    digest = files.sha256(options.run / repository.WEIGHTS)
    if measured.get("weights", digest) != digest:
        raise ValueError(
            f"{options.run / SCORE} is of other weights ({measured.get('tested', 'unknown')}) than those in "
            f"{options.run}; publish {options.run / 'best'} if these are the best, or test again with evaluate.py --to"
        )
    scores = [(used, measured), *((_row(paper, recipe, file), files.read_json(file)) for file in options.score)]
    for row, score in scores:
        _refuse_other_score(row, score, about)
    publication = Publication(
        *(options.repo, paper, used, network, about, changed, tuple(scores), options.data_name, options.licence)
    )
    more = [ONNX] if options.onnx else []
    more += [PICTURE] if publication.drawn or options.picture else []
    publication.terms  # noqa: B018  refuses a name and terms for data whose terms are known
    return replace(publication, files=tuple(more))


def as_used(recipe: Recipe[Any], about: About) -> tuple[Recipe[Any], Changes]:
    """The recipe as weights were trained by it, and what of it is not as published."""
    kind: Any = Recipe[type(recipe.architecture)]  # type: ignore[misc]
    used = replace(from_json(kind, about.recipe), summary=recipe.summary, reported=recipe.reported)
    return used, {name: (old, new) for name, (old, new) in {**differences(recipe, used), **about.changed}.items()}


def _refuse_name(repo: str, recipe: Recipe[Any], changed: Changes) -> None:
    """The name of a row is kept for the weights that its recipe trains."""
    name = repo.split("/")[1]
    rows = {row.lower() for paper in papers.every() for row in paper.recipes}
    if name.lower() not in rows:
        return
    if changed:
        lines = "; ".join(f"{field}: {old} -> {new}" for field, (old, new) in changed.items())
        raise ValueError(f"this run changed its recipe ({lines}): {name!r} is a row's name; choose another --repo")
    if name != recipe.name:
        raise ValueError(f"{name!r} is the name of another row, this is {recipe.name!r}; choose another --repo")


def _row(paper: Paper, recipe: Recipe[Any], file: Path) -> Recipe[Any]:
    """The recipe of a further score."""
    name = str((files.read_json(file) or {}).get("recipe"))
    row = paper.recipes.get(name)
    if row is None or row.same_weights_as != recipe.name:
        raise ValueError(f"--score {file} is of {name!r}, which does not test the weights of {recipe.name!r}")
    return row


def _refuse_other_score(recipe: Recipe[Any], score: dict[str, Any], about: About) -> None:
    """A score belongs to a row: measured by its recipe, and over the classes of these weights."""
    needed = {
        "recipe",
        "split",
        "protocol",
        "mean_iou",
        "pixel_accuracy",
        "iou",
        "pixels",
        "date",
        "commit",
        "hardware",
    }
    absent = sorted(needed - score.keys())
    if absent:
        raise ValueError(f"the score of {recipe.name!r} lacks {', '.join(absent)}; test again with evaluate.py --to")
    if score["recipe"] != recipe.name:
        raise ValueError(f"the score is of the recipe {score['recipe']!r}, not {recipe.name!r}")
    how = {"data.test": recipe.data.test, "protocol": recipe.protocol}
    measured = {"data.test": score["split"], "protocol": score["protocol"]}
    for field, (wanted, found) in differences(how, measured).items():
        raise ValueError(f"{field} of the score of {recipe.name!r} is {found}, but its recipe tests with {wanted}")
    if tuple(score["iou"]) != about.classes.names:
        raise ValueError(
            f"the score of {recipe.name!r} is of other classes than the weights: {', '.join(score['iou'])}"
        )


def write(publication: Publication, run: Path, to: Path, picture: Path | None = None) -> None:
    """Write the folder of the repository.

    Without a picture, the card shows the first one of our own data set that no training sees.

    Raises:
        ValueError: if it holds files that are not of a repository, or the network can't be made an ONNX file.
    """
    data = publication.data.replace("/", "_")
    further = {publication.file_of(row): score for row, score in publication.scores[1:]}
    ours = {*COPIED, *further, *folder.added(publication.paper), CARD, RESULTS, ONNX, PICTURE}
    foreign = sorted({file.name for file in to.iterdir()} - ours) if to.is_dir() else []
    if foreign:
        raise ValueError(f"{to} holds {errors.listed(foreign)}, which would be uploaded too; choose another --to")
    (to / RESULTS).mkdir(parents=True, exist_ok=True)
    for file in (*(to / RESULTS).iterdir(), to / ONNX, to / PICTURE):
        file.unlink(missing_ok=True)  # of an earlier data set or network
    for name in COPIED:
        shutil.copyfile(run / name, to / name)
    folder.write(to, publication.paper, publication.network)
    if ONNX in publication.files:
        export.export(publication.network, to / ONNX)
    if PICTURE in publication.files:
        data = publication.about.recipe["data"]["name"]
        draw(publication.network, picture or datasets.read(data, None, "test").rows[0].image).save(to / PICTURE)
    card.card(publication).save(to / CARD)
    for name, score in further.items():
        files.write_json(to / name, score)
    (to / RESULTS / f"{data}.yaml").write_text(results.eval_results(publication), encoding="utf-8")


def draw(network: Network, picture: Source) -> Image.Image:
    """A picture beside what the network makes of it."""
    prediction = network.predict(picture if isinstance(picture, Path) else open_rgb(picture))
    pair = [np.asarray(prediction.image), np.asarray(prediction.overlay())]
    return contact_sheet([pair], ["image", "prediction"], prediction.classes)


def upload(publication: Publication, folder: Path, private: bool) -> str:
    """Upload the folder in one commit, and return its address.

    Raises:
        OSError: if the Hub is out of reach or does not let us.
    """
    api = HfApi()
    message = f"Publish {publication.recipe.name} at {publication.about.commit}"
    try:
        api.create_repo(publication.repository, private=private, exist_ok=True)
        return api.upload_folder(repo_id=publication.repository, folder_path=folder, commit_message=message).commit_url
    except Exception as error:  # the Hub's transport has kinds of its own, which change between its releases
        raise OSError(
            f"can't publish {publication.url} ({type(error).__name__}: {' '.join(str(error).split())}); {folder} is "
            "complete: log in with `hf auth login` if you have not, and give the same command again"
        ) from error


def main() -> None:
    """Publish what the command line says."""
    with door():
        options = tyro.cli(Options, description=__doc__)
        check.refuse_without_transformers()
        publication = gather(options)
        to = options.to or options.run / "repository"
        write(publication, options.run, to, options.picture)
        check.compare({to: publication.network})
        address = "" if options.dry_run else upload(publication, to, options.private)
    sys.stdout.write(f"{to} holds the repository" + (f"; published: {address}\n" if address else "\n"))


if __name__ == "__main__":
    main()
