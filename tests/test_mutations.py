"""The script that plants mistakes: on one that is noticed, and what it says of others."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import environment

import papers
from ci import mutations
from ci.mutations import ROOT, judge, sound
from ci.planted import MISTAKES
from ci.planted.mistake import CONDITIONS, Mistake

TESTS = ("tests/test_conditions_pdanet.py",)
RATE = Mistake("a rate", "recipes.py", "rate = 0.01", "rate = 1.0", TESTS)


@pytest.mark.slow
def test_a_mistake_is_noticed_by_the_tests_of_its_paper() -> None:
    command = [sys.executable, "-m", "ci.mutations", "pdanet: the code's rate"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"nothing planted: {TESTS[0]} pass" in done.stdout
    assert f"noticed    pdanet: the code's rate: {TESTS[0]}" in done.stdout


@pytest.mark.parametrize(("code", "verdict"), [(0, "missed"), (1, "noticed"), (2, "not judged"), (-9, "not judged")])
def test_only_tests_that_fail_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, verdict: str) -> None:
    seen = []

    def passes(tree: Path, tests: tuple[str, ...]) -> int:
        seen.append((tree / RATE.file).read_text())
        return code

    monkeypatch.setattr(mutations, "passes", passes)
    (tmp_path / RATE.file).write_text("rate = 0.01  # of the text")
    assert judge(RATE, TESTS, tmp_path).verdict == verdict
    assert sound(TESTS, tmp_path).verdict == ("noticed" if code == 0 else "not judged")
    assert seen == ["rate = 1.0  # of the text", "rate = 0.01  # of the text"]


@pytest.mark.parametrize("text", ["", "rate = 0.02", "rate = 0.01; rate = 0.01"])
def test_a_text_that_is_not_there_once_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / RATE.file).write_text(text)
    assert judge(RATE, TESTS, tmp_path).verdict == "not judged"


def test_every_text_stands_once_in_its_file() -> None:
    wrong = [mistake.what for mistake in MISTAKES if (ROOT / mistake.file).read_text().count(mistake.old) != 1]
    assert wrong == []
    assert all(mistake.old != mistake.new for mistake in MISTAKES)
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES)


def test_every_paper_has_mistakes_of_its_own() -> None:
    for paper in papers.NAMES:
        assert len([mistake for mistake in MISTAKES if mistake.papers == (paper,)]) >= 15


def test_a_mistake_runs_once_for_each_paper() -> None:
    mistake = Mistake("one for all", "a", "b", "c", CONDITIONS, ("danet", "sanet"))
    assert mistake.runs() == [("tests/test_conditions_danet.py",), ("tests/test_conditions_sanet.py",)]


@pytest.mark.parametrize(
    ("verdicts", "code"), [(["noticed"], 0), (["noticed", "missed"], 1), (["missed", "not judged"], 2)]
)
def test_the_exit_code_is_that_of_the_worst(monkeypatch: pytest.MonkeyPatch, verdicts: list, code: int) -> None:
    results = [mutations.Result(RATE, TESTS, verdict, "") for verdict in verdicts]
    monkeypatch.setattr(mutations, "run", lambda *_: results)
    assert mutations.main() == code
    assert mutations.main(("there is no mistake with this word",)) == 2
