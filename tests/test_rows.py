"""Every own row of every table of the five papers has a recipe: the list is written from the papers, table by table.

Own are the paper's method and the baselines that it trained itself, among them DeepLab V3+ in SANet's Table 6. Not own,
and not here, are the numbers that a paper cites for others, among them the rows of DANet, CCNet, PSANet and Asymmetric
NL in RANet's Table 3.
"""

import re
from pathlib import Path

import pytest

import papers
from ci import rows
from ci.measured import to_toml
from ci.rows import (
    SERVER,
    Row,
    caveats,
    circumstances,
    first_page,
    latest,
    listing,
    main,
    on_embedded_pictures,
    spent,
)
from hub.markdown import table

Printed = dict[str, tuple[tuple[str, str, float], ...]]
"""Table -> (split, metric, value) of each own row, from top to bottom and from left to right."""


def val(*values: float) -> tuple[tuple[str, str, float], ...]:
    return tuple(("val", "mIoU", value) for value in values)


def held_out(*values: float) -> tuple[tuple[str, str, float], ...]:
    return tuple(("test", "mIoU", value) for value in values)


def with_accuracy(*pairs: tuple[float, float]) -> tuple[tuple[str, str, float], ...]:
    return tuple(row for accuracy, iou in pairs for row in (("val", "pixel accuracy", accuracy), ("val", "mIoU", iou)))


DANET: Printed = {
    "Table 1": val(70.03, 75.74, 74.28, 76.34, 72.54, 77.03, 76.55, 77.57),
    "Table 2": val(77.57, 78.83, 79.94, 81.50),
    "Table 3": held_out(81.5),
    "Table 4": val(44.3, 50.1, 52.6),  # its caption says testing set; the data set's is called val
    "Table 5": held_out(31.9, 37.2, 39.7),
}
DFDAM: Printed = {
    "Table 1": val(68.2, 73.7, 74.6, 72.9, 76.8, 77.9),
    "Table 2": val(70.3, 72.8, 73.1),
    "Table 3": val(73.1, 74.6, 74.9),
    "Table 4": held_out(73.6),
    "Table 5": val(77.90, 79.55, 79.83),
    "Table 6": held_out(82.3),
    "Table 7": held_out(82.3),
}
PDANET: Printed = {
    "Table 1": with_accuracy((75.61, 33.05), (77.78, 36.28), (78.44, 37.68)),
    "Table 2": with_accuracy((74.70, 31.41), (77.59, 35.75), (77.18, 34.70), (77.86, 36.66)),
}
SANET: Printed = {
    "Table 1": with_accuracy((74.5, 43.2), (77.2, 49.2), (79.0, 50.7), (79.3, 51.9), (80.6, 53.0), (81.6, 55.3)),
    "Table 2": val(52.1, 54.4),
    "Table 3": with_accuracy((76.2, 44.9), (76.7, 45.6), (76.0, 44.6), (76.6, 45.7), (78.9, 49.0), (79.2, 50.1)),
    "Table 4": held_out(83.2),
    "Table 5": held_out(86.1),
    "Table 6": held_out(78.7, 81.5, 83.2),
}
RANET: Printed = {
    "Section 5.1": val(77.5, 79.2, 81.1),  # printed in the text alone
    "Table 1": val(79.6, 80.5, 80.8, 81.3, 81.9),
    "Table 2": val(81.2, 81.6, 81.7, 81.9, 81.8, 81.6),
    "Table 3": val(81.9),
    "Table 4": val(77.3, 51.2, 37.9, 81.9, 54.9, 40.7),
    "Table 5": held_out(82.4, 83.0, 83.4, 84.0),
    "Table 6": val(54.9, 40.7),
}
PRINTED = {"danet": DANET, "dfdam": DFDAM, "pdanet": PDANET, "sanet": SANET, "ranet": RANET}

PER_CLASS = {
    "danet": {
        "Table 3": (
            *(98.6, 86.1, 93.5, 56.1, 63.3, 69.7, 77.3, 81.3, 93.9, 72.9, 95.7, 87.3, 72.9, 96.2, 76.8, 89.4, 86.5),
            *(72.2, 78.2),
        )
    },
    "dfdam": {
        "Table 7": (
            *(95.6, 70.7, 91.1, 73.0, 76.1, 94.1, 91.3, 93.7, 37.8, 90.2, 72.1, 91.0, 93.0, 90.6, 88.7, 72.3, 92.6),
            *(59.7, 86.6, 72.5),
        )
    },
    "pdanet": {},
    "sanet": {"Table 4": (95.1, 65.9, 95.4, 72.0, 80.5, 93.5, 86.8, 94.5, 40.5, 93.3, 74.6, 94.1)},
    "ranet": {},
}
"""Table -> IoU of each class of the one own row that prints them."""

PAPERS = {paper.folder: paper.recipes for paper in papers.every()}
NAMES = {paper.folder: paper.name for paper in papers.every()}


def test_all_five_papers_are_here() -> None:
    assert set(PAPERS) == set(PRINTED)


@pytest.mark.parametrize(("paper", "place"), [(paper, place) for paper, places in PRINTED.items() for place in places])
def test_every_row_of_the_paper_has_a_recipe_and_no_recipe_invents_one(paper: str, place: str) -> None:
    carried = [
        (row.split, row.metric, row.value)
        for recipe in PAPERS[paper].values()
        for row in recipe.reported
        if row.paper == NAMES[paper] and row.table == place
    ]
    assert sorted(carried) == sorted(PRINTED[paper][place])


@pytest.mark.parametrize("paper", PRINTED)
def test_no_recipe_cites_a_table_that_the_paper_does_not_have(paper: str) -> None:
    cited = {row.table for recipe in PAPERS[paper].values() for row in recipe.reported if row.paper == NAMES[paper]}
    assert cited == set(PRINTED[paper])


@pytest.mark.parametrize("paper", PER_CLASS)
def test_values_of_single_classes_are_carried(paper: str) -> None:
    carried = {
        row.table: row.per_class for recipe in PAPERS[paper].values() for row in recipe.reported if row.per_class
    }
    assert carried == PER_CLASS[paper]


def test_the_listing_has_every_row_and_what_must_be_known() -> None:
    text = listing()
    for recipes in PAPERS.values():
        for name, recipe in recipes.items():
            for row in recipe.reported:
                pattern = rf"^{name} +{row.table}, {row.split} .* {row.metric} +{row.value:.2f}"
                assert re.search(pattern, text, re.MULTILINE), pattern
    assert text.count("Expect to fall short.") == 1  # once for all rows that it is said of


def test_what_must_be_known_stands_beside_the_row() -> None:
    known = {name: recipe for recipes in PAPERS.values() for name, recipe in recipes.items()}
    users, server = caveats(known["danet-r101-cityscapes-test"])
    assert "75.05 and 77 to 78" in users
    assert server == SERVER
    assert caveats(known["danet-r101-cityscapes-fcn"]) == []
    assert "75.05 and 77 to 78" in caveats(known["danet-r101-cityscapes"])[0]
    assert "tolerance stays 0.5 points" in users
    assert "44.95" in caveats(known["danet-r101-cocostuff"])[0]
    _, counted, server = caveats(known["sanet-r101-voc2012-test"])
    assert "204.7 G" in counted
    assert server == SERVER
    (fcn,) = caveats(known["sanet-r50-pascal-context-fcn"])  # once for its two numbers
    assert "does not say why" in fcn
    for name in ("dfdam-r101-voc2012", "pdanet-r18-ade20k-1000"):
        assert caveats(known[name])[0].startswith("The text does not say how long it trains")


def entry(value: float, commit: str = "b", **more: object) -> dict[str, object]:
    common = {"recipe": "danet-demo", "metric": "mIoU", "pixel_accuracy": value + 30, "hours": 0.5, "seed": 0}
    told = {"command": "train.py", "hardware": "CPU", "date": "2026-11-21"}
    return {**common, **told, "value": value, "commit": commit, **more}


def test_the_latest_commit_counts_and_seeds_are_averaged() -> None:
    entries = [entry(10.0, "a"), entry(50.0), entry(52.0)]
    assert latest("danet-demo", "mIoU", entries[:1]) == "10.00"
    assert latest("danet-demo", "mIoU", entries) == "51.00 (50.00 to 52.00, 2 seeds)"
    assert latest("danet-demo", "pixel accuracy", entries[:2]) == "80.00"
    assert latest("dfdam-demo", "mIoU", entries) == ""


def test_the_threads_of_a_cpu_are_told() -> None:
    threads = "CPU, 2 threads, x86_64"
    assert latest("danet-demo", "mIoU", [entry(50.0, hardware=threads)]) == "50.00 (2 threads)"
    assert latest("danet-demo", "mIoU", [entry(50.0, hardware="CPU, 1 thread, x86_64")]) == "50.00 (1 thread)"
    assert latest("danet-demo", "mIoU", [entry(50.0, "a", hardware=threads), entry(52.0)]) == "52.00"


def test_the_first_page_has_the_ladder_on_photographs() -> None:
    without = entry(51.0, recipe="danet-tiny-camvid-fcn")
    page = first_page([entry(58.0), entry(50.0, recipe="danet-tiny-camvid"), without])  # type: ignore[list-item]
    assert "| 81.50 | not trained here | 50.00 | 51.00 |" in page
    assert "58.00" not in page


def test_a_changed_recipe_is_not_the_row() -> None:
    changed = entry(60.0, "c", changed=["optimisation.batch: 16 -> 8"], note="One seed. A long run.")
    assert latest("danet-demo", "mIoU", [entry(50.0), changed]) == "50.00"
    told = circumstances({"danet-demo": PAPERS["danet"]["danet-demo"]}, [entry(50.0, note="One seed."), changed])
    assert (
        "| `danet-demo`, changed | 0 | 60.00 | 90.00 | `train.py` | c | CPU | 30 min | 2026-11-21 | 1, 2, 3 |" in told
    )
    assert told.endswith("\n\n1. One seed.\n2. A long run.\n3. Changed: optimisation.batch: 16 -> 8.")


def test_seeds_of_one_command_share_a_row() -> None:
    first = entry(50.0, command="train.py --run.seed 3 --run.threads 1", seed=3)
    second = entry(52.0, command="train.py --run.seed 4 --run.threads 1", seed=4, hours=1)
    other = entry(54.0, command="train.py --run.seed 5 --run.threads 1", seed=5, note="Beside others.")
    told = circumstances({"danet-demo": PAPERS["danet"]["danet-demo"]}, [first, other, second])  # type: ignore[list-item]
    command = "`train.py --run.seed SEED --run.threads 1`"
    alike = "| `danet-demo` | 3, 4 | 50.00, 52.00 | 80.00, 82.00 | {} | b | CPU | 30 min, 60 min | 2026-11-21 |  |"
    assert alike.format(command) in told
    assert f"| `danet-demo` | 5 | 54.00 | 84.00 | {command} | b | CPU | 30 min | 2026-11-21 | 1 |" in told


def test_hours_are_told_in_the_unit_that_suits_them() -> None:
    assert (spent(0.05), spent(1.5), spent(48.2)) == ("3 min", "90 min", "48 h")


def test_a_table_in_markdown() -> None:
    assert table(("a", "b"), [("1", "2"), ("3", "4")]) == "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"
    assert table(("a", "b"), []) == "| a | b |\n|---|---|"


def test_markdown_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    monkeypatch.setattr(rows, "tables", lambda: {file: {"results": "new"}})
    main(["--markdown"])
    assert capsys.readouterr().out == "wrote README.md\n"
    assert file.read_text() == "before\n<!-- results -->\nnew\n<!-- end of results -->\nafter\n"
    main(["--markdown"])
    assert capsys.readouterr().out == ""


def test_without_markdown_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rows, "listing", lambda: "a row\n")
    monkeypatch.setattr(rows, "tables", lambda: pytest.fail("nothing may be written"))
    main([])
    assert capsys.readouterr().out == "a row\n"


def test_a_row_knows_its_cells() -> None:
    row = Row("danet-demo", "ours", "val", "whole image", "mIoU", "none", "")
    assert row.cells() == ("`danet-demo`", "ours", "val", "whole image", "mIoU", "none", "")


def test_what_the_modules_add_on_embedded_pictures(tmp_path: Path) -> None:
    file = tmp_path / "learning.toml"
    told = {"seconds": 60, "commit": "b", "date": "2026-11-27", "hardware": "CPU"}
    found = [("danet-demo", 8, 35.0), ("danet-demo", 8, 36.0), ("danet-demo-fcn", 8, 30.0), ("danet-beacons", 16, 87.0)]
    lines = [
        to_toml({"recipe": recipe, "epochs": epochs, "seed": seed, "mean_iou": value, **told}, "run")
        for seed, (recipe, epochs, value) in enumerate(found)
    ]
    file.write_text("".join(lines))
    table = on_embedded_pictures(file)
    danet = "| DANet | 35.50 (35.00 to 36.00) | 30.00 (30.00 to 30.00) | 87.00 (87.00 to 87.00) |  |"
    assert danet in table.splitlines()
    assert len(table.splitlines()) == 2 + len(PAPERS)
