"""Every equation has an address: in the paper's code, and in the table "Paper to code" of its README."""

import io
import re
import tokenize
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[1] / "papers"

EQUATIONS: dict[str, set[int]] = {  # those that each paper numbers
    "danet": {1, 2, 3, 4},
    "dfdam": set(range(1, 13)),
    "pdanet": set(range(1, 10)),
    "ranet": set(range(1, 9)),
    "sanet": set(range(1, 10)),
}

MODULES = ("model.py", "loss.py", "regions/equations.py", "regions/divergence.py", "interaction.py")
"""Where a paper's equations are computed."""

CITATION = re.compile(r"\bEqs?\. \((\d+)\)")


def numbers(text: str) -> set[int]:
    """Return the equations that a text cites as Eq. (n)."""
    return {int(number) for number in CITATION.findall(text)}


def in_code(path: Path) -> tuple[set[int], set[int]]:
    """Return the equations that a module's docstrings state, and those that end a line of its code as a comment."""
    stated: set[int] = set()
    computed: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.STRING:
            stated |= numbers(token.string)
        elif token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            computed |= numbers(token.string)
    return stated, computed


def in_table(readme: Path) -> tuple[set[int], set[int]]:
    """Return the equations in the rows of "Paper to code", and those that a row marks as "definition only"."""
    section = re.search(r"^## Paper to code\n(.*?)(?=^## |\Z)", readme.read_text(), re.MULTILINE | re.DOTALL)
    assert section, f'{readme.relative_to(PAPERS)} has no section "Paper to code"'
    rows = [line for line in section[1].splitlines() if line.startswith("|")]
    definitions = [row for row in rows if "definition only" in row]
    return numbers("\n".join(rows)), numbers("\n".join(definitions))


def papers() -> list[str]:
    return sorted(path.parent.name for path in PAPERS.glob("*/model.py"))


def test_every_paper_is_listed() -> None:
    assert set(papers()) == set(EQUATIONS), "give each paper's equations in EQUATIONS"


@pytest.mark.parametrize("paper", papers())
def test_every_equation_has_an_address(paper: str) -> None:
    listed, definitions = in_table(PAPERS / paper / "README.md")
    modules = [in_code(PAPERS / paper / name) for name in MODULES if (PAPERS / paper / name).is_file()]
    stated = set().union(*(module[0] for module in modules))
    computed = set().union(*(module[1] for module in modules))

    assert EQUATIONS[paper] - listed == set(), 'missing in the table "Paper to code"'
    assert EQUATIONS[paper] - stated - definitions == set(), "stated in no docstring"
    assert EQUATIONS[paper] - computed - definitions == set(), "at the end of no line of code"


@pytest.mark.parametrize("paper", papers())
def test_no_equation_is_invented(paper: str) -> None:
    for path in sorted((PAPERS / paper).rglob("*.*")):
        if path.suffix in (".py", ".md"):
            assert numbers(path.read_text()) <= EQUATIONS[paper], path.name
