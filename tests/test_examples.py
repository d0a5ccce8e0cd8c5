"""The examples run, and what they name exists: the notebook, and the page for those who come from mmsegmentation."""

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import forked
import pytest

from core.command import TrainingOptions, parse
from core.run import Run
from papers.danet.recipes import RECIPES

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "first_hour.ipynb"


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def program() -> str:
    """The code cells one after another; what a notebook would show is collected in `shown`.

    Its commands run in forks of it, which saves each the seconds in which Python imports.
    """
    lines = ["import subprocess, forked", "subprocess.run = forked.command", "shown = []"]
    for cell in cells():
        parsed = ast.parse("".join(cell["source"]))
        last = parsed.body[-1]
        if isinstance(last, ast.Expr):
            last.value = ast.parse(f"shown.append({ast.unparse(last.value)})", mode="eval").body
        lines.append(ast.unparse(parsed))
    return "\n".join([*lines, "print('shown:', [type(value).__name__ for value in shown])"])


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    code = program()
    assert "STEPS = 40" in code
    (tmp_path / "program.py").write_text(code.replace("STEPS = 40", "STEPS = 2"), encoding="utf-8")
    done = forked.served([sys.executable, str(tmp_path / "program.py")], env={"TMPDIR": str(tmp_path)})
    said = done.stderr
    assert done.returncode == 0, said
    assert "DANet knows" in said
    assert "position attention, Eq. (1)" in said
    assert "\nready\n" in said
    assert "6 training images, 2 steps of 6, from the beginning" in said
    assert said.count("mIoU  ") == 2  # after training and after testing
    shown = said.rpartition("shown: ")[2]
    assert shown.count("Image") == 5  # predictions before and after, attention, the check, the training


def test_the_notebook_keeps_no_results() -> None:
    """They would be those of another day, and make a change of a line a change of a thousand."""
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())


PAGE = (ROOT / "examples" / "coming_from_mmsegmentation.md").read_text(encoding="utf-8")
RECIPE = RECIPES["danet-r50-cityscapes-mmseg"]


@pytest.mark.slow
def test_the_fields_that_stand_for_keys_of_mmsegmentation_exist_and_take_these_values() -> None:
    rooms = {name: getattr(RECIPE, name) for name in ("architecture", "augmentation", "optimisation", "protocol")}
    rooms["run"] = Run()
    seen = 0
    for part in re.split(r"[;\n]", PAGE):  # what is given together
        words = []
        for room, path, value in re.findall(rf"`({'|'.join(rooms)})\.([a-z_.]+)(?:=([^`]+))?`", part):
            holder = rooms[room]
            for name in path.split("."):
                assert hasattr(holder, name), f"{room}.{path}"
                holder = getattr(holder, name)
            option = f"--{'' if room == 'run' else 'recipe.'}{room}.{path}"
            words += [option, *re.sub(r"[(),]", " ", value).split()] if value else []
            seen += 1
        if words:
            parse(TrainingOptions, RECIPES, RECIPE.name, [RECIPE.name, *words])
    assert seen > 40


def test_the_commands_that_stand_for_those_of_mmsegmentation_exist() -> None:
    assert set(re.findall(r"\bdanet-r\w+(?:-\w+)*", PAGE)) == {RECIPE.name}
    for module in set(re.findall(r"python -m ([a-z.]+)", PAGE)):
        assert importlib.util.find_spec(module) is not None, module
