"""The READMEs say what the code does."""

import re
from pathlib import Path
from statistics import mean

import pytest

import papers
from ci import learning
from ci.measured import changes, scores
from ci.rows import tables, with_tables

ROOT = Path(__file__).parent.parent
TOPS = ("ci", "core", "hub", "papers")
TEST_COMMAND = 'pip install -e ".[dev]" && pytest'


@pytest.mark.slow
@pytest.mark.parametrize("file", tables(), ids=lambda file: str(file.relative_to(ROOT)))
def test_tables_follow_the_recipes(file: Path) -> None:
    """`python -m ci.rows --markdown` brings them up to date."""
    text = file.read_text(encoding="utf-8")
    assert with_tables(text, tables()[file]) == text


PAPERS = {paper.folder: paper.recipes for paper in papers.every()}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_reported_value_stands_in_the_table(paper: str) -> None:
    text = (ROOT / "papers" / paper / "README.md").read_text(encoding="utf-8")
    for name, recipe in PAPERS[paper].items():
        for row in recipe.reported:
            where = f"{row.table}, {row.split}"
            assert re.search(rf"\| `{name}` \|.*\| {where} \|.*\| {row.metric} \| {row.value:.2f} \|", text)


def test_a_missing_mark_is_said() -> None:
    with pytest.raises(ValueError, match="results"):
        with_tables("no marks", {"results": "table"})


WITHOUT_WEIGHTS = range(29, 39)
"""The entries of 2026-11-26, of which no weights were kept."""


def test_measured_scores_name_a_recipe_and_their_circumstances() -> None:
    known = {name for recipes in PAPERS.values() for name in recipes}
    needed = {"metric", "value", "pixel_accuracy", "command", "commit", "hardware", "date", "seed"}
    later = {"changed", "per_class", "weights", "hours", "precision"}
    latest = {"split", "images", "protocol", "device", "torch"}
    for number, score in enumerate(scores()):
        assert score["recipe"] in known
        assert needed <= score.keys()
        kept = later if number not in WITHOUT_WEIGHTS else later - {"weights"}
        assert kept <= score.keys() if number >= 11 else "minutes" in score
        assert latest <= score.keys() if number >= 25 else not latest & score.keys()


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_what_is_said_of_measured_scores_are_measured_scores(paper: str) -> None:
    text = (ROOT / "papers" / paper / "README.md").read_text(encoding="utf-8")
    said = text.split("<!-- end of measured -->")[1].split("\n## ")[0]
    seeds: dict[tuple[str, ...], list[float]] = {}
    for score in scores():
        if score["recipe"] in PAPERS[paper]:
            seeds.setdefault((score["recipe"], score["commit"], *changes(score)), []).append(score["value"])
    for recipe in PAPERS[paper]:
        if recorded := learning.recorded(recipe):
            seeds[recipe,] = list(recorded.values())
    measured = {f"{value:.2f}" for values in seeds.values() for value in (*values, mean(values))}
    assert set(re.findall(r"\b\d\d\.\d\d\b", said)) <= measured


def test_checks_run_the_line_of_the_readme() -> None:
    assert TEST_COMMAND in (ROOT / "README.md").read_text(encoding="utf-8")
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace("--quiet ", "")


READMES = [
    "README.md",
    *(str(file.relative_to(ROOT)) for top in TOPS for file in sorted((ROOT / top).rglob("README.md"))),
]
EACH_README = pytest.mark.parametrize("name", READMES)


@EACH_README
def test_links_lead_somewhere(name: str) -> None:
    file = ROOT / name
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), target


@EACH_README
def test_files_of_the_code_that_are_named_exist(name: str) -> None:
    below = ROOT / "papers" if name == "README.md" else (ROOT / name).parent
    for target in re.findall(r"`([\w./-]+\.py)`", (ROOT / name).read_text(encoding="utf-8")):
        assert any(path.exists() for path in (ROOT / target, *below.rglob(target))), target
