"""The results of a publication: tables for its card, and the two forms that the Hub reads.

Every number comes from the recipe (reported) or from a score that a test wrote (measured); none is typed here.
"""

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from hub.markdown import code, plain, table
from hub.publication import METRICS, Publication


def model_index(publication: Publication) -> list[EvalResult]:
    """The results for the metadata of the card."""
    return [
        EvalResult(
            task_type="image-segmentation",
            task_name=f"semantic segmentation, {recipe.protocol.in_words()}",
            dataset_type=publication.data,
            dataset_name=publication.terms.title,
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
            notes=f"{publication.name_of(recipe)}: {score['split']} split, {recipe.protocol.in_words()}",
        )
        for recipe, score in publication.scores
        for key, _ in METRICS.values()
    ]
    return yaml_dump(eval_result_entries_to_yaml(entries))


def results(publication: Publication) -> str:
    """The table of reported and measured numbers, in percent; a number that was not measured is an empty cell.

    A reported number stands there only if nothing was changed in the recipe.
    """
    lines = []
    for recipe, score in publication.scores:
        reported = recipe.reported if publication.comparable else ()
        cells: list[tuple[str, str, str]] = [
            (row.metric, row.split, f"{row.value:.2f} ({row.paper}, {row.table})") for row in reported
        ]
        known = {metric for metric, split, _ in cells if split == score["split"]}
        cells += [(metric, score["split"], "none") for metric in METRICS if metric not in known]
        for metric, split, value in cells:
            measured = f"{score[METRICS[metric][0]]:.2f}" if split == score["split"] else ""
            name = code(publication.name_of(recipe))
            lines.append((name, metric, plain(split), recipe.protocol.in_words(), plain(value), measured))
    return table(("row", "metric", "split", "protocol", "reported", "measured"), lines)


def circumstances(publication: Publication) -> str:
    """How each score was measured."""
    return "\n".join(
        f"- {code(publication.name_of(recipe))}: {score['date']}, commit {score['commit']}, "
        f"{plain(score['hardware'])}, {score['pixels']:,} labelled pixels"
        for recipe, score in publication.scores
    )


def per_class(publication: Publication) -> str:
    """The table of the IoU of each class."""
    rows = []
    for name in publication.about.classes.names:
        values = [score["iou"][name] for _, score in publication.scores]
        rows.append((plain(name), *("absent" if value is None else f"{value:.2f}" for value in values)))
    return table(("class", *(code(publication.name_of(recipe)) for recipe, _ in publication.scores)), rows)
