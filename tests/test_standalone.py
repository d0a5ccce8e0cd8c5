"""Definitions of several modules in one file: what is taken, what is renamed, and what is refused."""

import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.doors import folder, sources
from hub.doors.sources import Place
from hub.doors.standalone import ALLOWED, Standalone
from papers import every

Made = Callable[..., str]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """Write modules of a package `sample`, and return the file for `sample.top.wanted`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "OURS", ("sample",))
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def write(**modules: str) -> str:
        for name, text in modules.items():
            (package / f"{name}.py").write_text(textwrap.dedent(text))
        standalone = Standalone({Place("sample.top", "Old"): Place("sample.top", "New")})
        standalone.reach(Place("sample.top", "wanted"))
        return standalone.text()

    yield write
    sources.source.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "sample"]:
        del sys.modules[name]


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "some.file"}
    exec(compile(text, "file", "exec"), names)
    return names


def test_what_is_used_is_taken_with_its_comments_and_nothing_else(made: Made) -> None:
    text = made(
        top='''
            """About the top."""

            import math
            import secrets

            from sample import low
            from sample.low import HALF as CONSTANT

            # What is wanted,
            # in two lines.
            def wanted(x):
                return low.twice(x) * CONSTANT + math.pi  # Eq. (1)


            def unwanted():
                return secrets.token_hex()
        ''',
        low='''
            HALF = 0.5
            """Of one."""


            def twice(x):
                return double(x)


            def double(x):
                return 2 * x


            def thrice(x):
                return 3 * x
        ''',
    )
    for kept in ('"""About the top."""', "# What is wanted,\n# in two lines.\ndef", "# Eq. (1)", '"""Of one."""'):
        assert kept in text
    for left in ("unwanted", "secrets", "thrice", "sample import"):
        assert left not in text
    assert run(text)["wanted"](2.0) == pytest.approx(2.0 + 3.14159265)


def test_equal_names_of_two_modules_are_told_apart(made: Made) -> None:
    text = made(
        top="""
            from sample import low
            from sample.low import step as other

            def wanted(x):
                _help = 100  # a name of its own
                return step(x) + low.step(x) + other(x) + _help + len([step for step in range(3)])

            def step(x):
                return _help(x)

            def _help(x):
                return x + 1
        """,
        low="""
            def step(x):
                return _help(x)

            def _help(x):
                return x + 10
        """,
    )
    assert "def top_step" in text
    assert "def _low_help" in text
    assert run(text)["wanted"](0) == 1 + 10 + 10 + 100 + 3


def test_what_registers_itself_comes_along(made: Made) -> None:
    text = made(
        top="""
            from sample.low import operator

            def wanted():
                return operator
        """,
        low="""
            TABLE = []
            OTHER = []
            operator = TABLE

            def entry():
                return 7

            operator.append(entry())
            OTHER.append(entry())

            @operator.append
            def _():
                pass
        """,
    )
    operator = run(text)["wanted"]()
    assert operator[0] == 7
    assert callable(operator[1])
    assert "OTHER.append" not in text


def test_modules_that_are_values_and_modules_that_may_be_missing(made: Made) -> None:
    text = made(
        top="""
            from importlib.util import find_spec

            from sample import plain

            def form(fast):
                if not fast:
                    return plain
                from sample import kernels  # needs more

                return kernels

            def wanted(fast):
                return form(fast).product(3)
        """,
        plain="""
            def product(x):
                return 2 * x
        """,
        kernels="""
            import not_installed_anywhere
            from sample.plain import product as slow

            def product(x):
                return not_installed_anywhere.multiply(slow(x))
        """,
    )
    names = run(text)
    assert names["wanted"](False) == 6
    assert not names["KERNELS_AVAILABLE"]
    loaded = run(text.replace("import not_installed_anywhere", "import operator as not_installed_anywhere\n    ..."))
    assert loaded["KERNELS_AVAILABLE"]
    loaded["not_installed_anywhere"] = type("", (), {"multiply": staticmethod(lambda x: 5 * x)})
    assert loaded["wanted"](True) == 30


def test_operators_have_names_of_the_file(made: Made) -> None:
    text = made(
        top="""
            import torch

            @torch.library.custom_op("core::wanted", mutates_args=())
            def wanted(x: torch.Tensor) -> torch.Tensor:
                return x + 1
        """
    )
    assert '@torch.library.custom_op(OPERATORS + "::wanted", mutates_args=())' in text
    assert run(text)["wanted"]._qualname == "some_file::wanted"


def test_one_thing_stands_in_for_another(made: Made) -> None:
    text = made(
        top="""
            class New:
                pass

            class Old(New):
                pass

            class wanted(Old):
                pass
        """
    )
    assert "class wanted(New)" in text
    assert "Old" not in text


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({"top": "import cattrs\n\ndef wanted():\n    return cattrs"}, "the file would need cattrs ('import cattrs')"),
        (
            {
                "top": "from sample import low\n\ndef wanted(step):\n    return low.step(step)",
                "low": "def step(x):\n    return x",
            },
            "sample.top, line 4: step would mean what is bound there; rename that",
        ),
        ({"top": "def wanted():\n    pass\n\ndef wanted():\n    pass"}, "sample.top defines wanted twice"),
        ({"top": "from sample.low import *\n\ndef wanted():\n    pass", "low": ""}, "imports our code by 'from sample"),
        ({"top": "from sample.low import x\n\ndef wanted():\n    return x", "low": ""}, "low does not define x"),
        (
            {
                "top": "from sample.low import f\nfrom math import pi as C\n\ndef wanted():\n    return f, C",
                "low": "from math import e as C\n\ndef f():\n    return C",
            },
            "in one file C would mean two things",
        ),
    ],
)
def test_what_can_not_be_one_file_is_refused(made: Made, modules: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        made(**modules)


@pytest.mark.slow
@pytest.mark.parametrize("paper", list(every()), ids=lambda paper: paper.folder)
def test_the_file_of_a_paper_needs_few_packages_and_keeps_its_equations(paper: Any) -> None:
    text = folder.modelling(paper, _architecture(paper))
    needed = set()
    for node in _outside_of_tries(ast.parse(text)):
        if isinstance(node, ast.Import):
            needed |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            needed.add(str(node.module).split(".")[0])
    assert needed - sys.stdlib_module_names == set(ALLOWED)
    assert text.count("# Eq. (") >= 2
    assert f"class {paper.network.__name__}ForSemanticSegmentation(Door, {paper.network.__name__}, " in text


def _architecture(paper: Any) -> Any:
    return type(next(iter(paper.recipes.values())).architecture)


def _outside_of_tries(node: ast.AST) -> Iterator[ast.AST]:
    """As transformers looks for what a file imports."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Try):
            yield from _outside_of_tries(child)
