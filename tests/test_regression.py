"""The weekly check of what is published, and the workflows that run the checks."""

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from ci import oldest, regression
from ci.check import Gates, Options
from ci.judgement import Judgement, Report
from ci.regression import FIELDS, main, published, rows
from papers import paper_of

WORKFLOWS = Path(__file__).parents[1] / ".github" / "workflows"


def report(verdict: Any, recipe: str = "danet-demo") -> Report:
    return Report(recipe, "org/name", "0" * 64, (Judgement("regression", verdict, "mIoU 1 | 2"),))


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the check over a list with these verdicts; returns the exit code and what was asked for."""

    def run(*verdicts: str) -> tuple[int, list[Options]]:
        names = ["danet-r18-camvid", "dfdam-demo", "sanet-demo"][: len(verdicts)]
        file = tmp_path / "published.toml"
        file.write_text(
            "".join(
                f'[[checkpoint]]\nrecipe = "{name}"\nweights = "org/{name}"\ngate = "regression"\n' for name in names
            )
        )
        answers = iter(verdicts)
        asked: list[Options] = []

        def check(options: Options) -> Report:
            asked.append(options)
            return report(next(answers), options.recipe)

        monkeypatch.setattr(regression, "check", check)
        return main(["--data", "/data", "--published", str(file)]), asked

    return run


def test_every_published_checkpoint_is_checked(checks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, asked = checks("holds", "holds")
    assert code == 0
    assert [(one.recipe, one.weights, one.gate, one.data) for one in asked] == [
        ("danet-r18-camvid", "org/danet-r18-camvid", "regression", Path("/data/camvid")),
        ("dfdam-demo", "org/dfdam-demo", "regression", None),
    ]
    assert "| `dfdam-demo` | org/name | regression | holds | mIoU 1 / 2 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [(("holds", "falls short", "not judged"), 1), (("holds", "not judged"), 2), ((), 2)],
)
def test_the_worst_verdict_is_the_exit_code(checks: Any, verdicts: tuple[str, ...], code: int) -> None:
    assert checks(*verdicts)[0] == code


def test_what_does_not_hold_is_bold_and_nothing_is_said() -> None:
    assert [cells[3] for cells in rows(report("falls short"))] == ["**falls short**"]
    assert rows(Report("danet-demo", "org/name", None, ())) == []


def test_a_line_that_says_nothing_sensible_does_not_end_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "published.toml"
    lines = ['recipe = "danet-r999"\nweights = "org/name"', 'weights = "org/name"']
    lines += [f'recipe = "danet-demo"\nweights = "org/name"\n{more}' for more in ('gate = "none"', "wight = 1", "")]
    file.write_text("".join(f"[[checkpoint]]\n{line}\n" for line in lines))
    monkeypatch.setattr(regression, "check", lambda options: report("holds", options.recipe))
    assert main(["--data", "/data", "--published", str(file)]) == 2
    *broken, whole = capsys.readouterr().out.splitlines()[2:]
    said = ["no paper has a recipe 'danet-r999'", "got weights", "got 'none'", "got recipe, weights, wight"]
    assert len(broken) == len(said)
    assert all("**not judged**" in line and words in line for line, words in zip(broken, said, strict=True))
    assert "| holds |" in whole


def test_what_is_published_names_a_recipe_and_can_be_judged() -> None:
    """The list itself, and the example in its comment, which is all there is before the first checkpoint."""
    text = regression.PUBLISHED.read_text(encoding="utf-8")
    example = "\n".join(line[1:].strip() for line in text[text.index("# [[checkpoint]]") :].splitlines())
    for line in (*tomllib.loads(example)["checkpoint"], *published()):
        assert line["recipe"] in paper_of(line["recipe"]).recipes
        assert line.keys() | {"gate"} == FIELDS
        assert line.get("gate", "both") in get_args(Gates)
        assert line["weights"].count("/") == 1


def workflow(name: str) -> dict[Any, Any]:
    content = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return {**content, "on": content[True]}  # YAML 1.1 takes the word on for true


def test_checks_run_on_every_push_with_old_and_new_python_and_torch() -> None:
    checks = workflow("checks.yml")
    assert "push" in checks["on"]
    job = checks["jobs"]["checks"]
    pairs = {(one["python"], one["torch"]) for one in job["strategy"]["matrix"]["include"]}
    assert pairs == {("3.11", "oldest"), ("3.11", "newest"), ("3.x", "newest")}
    assert job["steps"][-1]["run"] == "bash .ci/run"
    (held,) = [step for step in job["steps"] if "ci.oldest" in step.get("run", "")]
    assert held["shell"] == "bash"  # with pipefail, or an error of ci.oldest would leave the newest torch
    assert checks["jobs"]["learning"]["steps"][-1]["run"] == "python -m ci.learning"


def test_the_regression_runs_weekly_on_a_gpu_and_leaves_a_summary() -> None:
    weekly = workflow("regression.yml")
    ((schedule,),) = [list(one.values()) for one in weekly["on"]["schedule"]]
    assert schedule.split()[2:4] == ["*", "*"]
    assert schedule.split()[4] in "0123456"
    job = weekly["jobs"]["checkpoints"]
    assert job["runs-on"] == ["self-hosted", "gpu"]
    assert "python -m ci.regression" in job["steps"][-1]["run"]
    assert "$GITHUB_STEP_SUMMARY" in job["steps"][-1]["run"]
    assert "set -o pipefail" in job["steps"][-1]["run"]  # or the exit code would be that of tee


def test_the_speed_of_a_gpu_is_measured_also_after_a_check_that_failed() -> None:
    *_, check, measure = workflow("regression.yml")["jobs"]["speed"]["steps"]
    assert check["run"] == "pytest -m cuda -n 4"  # with one process it takes too long
    assert measure["if"] == "always()"
    assert "python -m ci.bench gpu" in measure["run"]


def test_the_oldest_torch_is_the_lower_bound_of_the_project(tmp_path: Path) -> None:
    assert [line.split("==")[0] for line in oldest.constraints()] == ["torch", "torchvision"]
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\ndependencies = ["numpy>=2.0", "torch>=2.11", "torchvision>=0.26"]\n')
    assert oldest.constraints(file) == ["torch==2.11.*", "torchvision==0.26.*"]
    file.write_text('[project]\ndependencies = ["torch>=2.11", "torchvision"]\n')
    with pytest.raises(ValueError, match="torchvision>=VERSION"):
        oldest.constraints(file)
