"""The script that plants mistakes: on one that is noticed, one that is not, and what can't be judged."""

from pathlib import Path

import pytest

from ci import mutations
from ci.mutations import ROOT, copy_tree, judge, preload
from ci.planted import CONDITIONS, EVERY, MISTAKES, Mistake

QUICK = ("tests/test_conditions_pdanet.py",)
RATE = Mistake("a rate", "papers/pdanet/recipes.py", "Optimisation(0.01, batch=8, length=STEPS", "Optimisation(1.0, batch=8, length=STEPS", QUICK)  # fmt: skip # noqa: E501


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    preload()
    return copy_tree(tmp_path_factory.mktemp("tree"))


def test_a_mistake_is_noticed_and_taken_out_again(tree: Path) -> None:
    assert judge(RATE, QUICK, tree).verdict == "noticed"
    assert (tree / RATE.file).read_text() == (ROOT / RATE.file).read_text()


def test_a_mistake_that_no_test_looks_at_is_missed(tree: Path) -> None:
    elsewhere = Mistake("a title", "papers/pdanet/recipes.py", '"psp": "PSP"', '"psp": "PPS"', QUICK)
    assert judge(elsewhere, QUICK, tree).verdict == "missed"


def test_what_cannot_be_judged_is_said(tree: Path) -> None:
    absent = Mistake("nothing", RATE.file, "there is no such text", "", QUICK)
    assert judge(absent, QUICK, tree).verdict == "not judged"


def test_every_text_stands_once_in_its_file() -> None:
    wrong = [mistake.what for mistake in MISTAKES if (ROOT / mistake.file).read_text().count(mistake.old) != 1]
    assert wrong == []
    assert all(mistake.old != mistake.new for mistake in MISTAKES)
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES)


def test_every_paper_has_mistakes_of_its_own() -> None:
    for paper in EVERY:
        assert len([mistake for mistake in MISTAKES if mistake.papers == (paper,)]) >= 15


def test_a_mistake_runs_once_for_each_paper() -> None:
    mistake = Mistake("one for all", "a", "b", "c", CONDITIONS, ("danet", "sanet"))
    assert mistake.runs() == [("tests/test_conditions_danet.py",), ("tests/test_conditions_sanet.py",)]


def test_words_that_describe_nothing_are_no_success() -> None:
    assert mutations.main(["there is no mistake with this word"]) == 2


@pytest.mark.parametrize(("code", "verdict"), [(0, "missed"), (1, "noticed"), (2, "not judged"), (-9, "not judged")])
def test_only_tests_that_fail_notice(tree: Path, monkeypatch: pytest.MonkeyPatch, code: int, verdict: str) -> None:
    monkeypatch.setattr(mutations, "passes", lambda *_: code)
    assert judge(RATE, QUICK, tree).verdict == verdict
    assert mutations.sound(QUICK, tree).verdict == ("noticed" if code == 0 else "not judged")
