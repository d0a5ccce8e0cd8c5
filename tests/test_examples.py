"""The examples run: the notebook from its first cell to its last."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import environment

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "first_hour.ipynb"


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def program() -> str:
    """The code cells one after another; what a notebook would show is collected in `shown`."""
    lines = ["shown = []"]
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
    command = [sys.executable, "-c", code.replace("STEPS = 40", "STEPS = 2")]
    done = subprocess.run(
        command, cwd=tmp_path, env={**environment(), "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
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
