"""Our modules as text with an index: what each defines, what it imports, and which names a statement reads."""

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from core.errors import require

OURS = ("core", "papers", "hub")
"""The packages whose source goes into a file that stands alone."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Place(NamedTuple):
    """A definition at the top of a module; without a name, the module itself."""

    module: str
    name: str


@dataclass(frozen=True)
class Statement:
    """A statement at the top of a module, with the comment above it and the docstring below it."""

    nodes: tuple[ast.stmt, ...]
    first: int  # line, from 1
    last: int


@dataclass
class Source:
    """One of our modules.

    Attributes:
        definitions: by name; `effects` are statements that define nothing, such as the registration of an operator.
        ours: what each imported name of our packages stands for.
        foreign: the statement that imports each other name.
        inner: the modules of ours that only functions import, so that what those need may be missing.
    """

    name: str
    text: str
    docstring: str = ""
    definitions: dict[str, Statement] = field(default_factory=dict)
    effects: list[Statement] = field(default_factory=list)
    ours: dict[str, Place] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@cache
def source(name: str) -> Source:
    """Read one of our modules.

    Raises:
        ValueError: if it defines a name twice or imports by a star, which can't be followed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {name}")
    found = Source(name, Path(spec.origin).read_text(encoding="utf-8"))
    tree = ast.parse(found.text)
    body = tree.body
    if ast.get_docstring(tree) is not None:
        found.docstring, body = "\n".join(found.lines[: body[0].end_lineno]), body[1:]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(found, node, at_top=node in body)
    for statement in _statements(found, body):
        _note_statement(found, statement)
    return found


def is_ours(node: ast.AST) -> bool:
    """Return True if a statement imports from our packages."""
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    return any(name.split(".")[0] in OURS for name in names)


def _note_import(found: Source, node: ast.Import | ast.ImportFrom, at_top: bool) -> None:
    if not is_ours(node):
        if at_top:
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                found.foreign[name] = ast.unparse(_alone(node, alias))
        return
    if not isinstance(node, ast.ImportFrom) or node.module is None or node.names[0].name == "*":
        raise ValueError(f"{found.name} imports our code by {ast.unparse(node)!r}; write `from package import name`")
    for alias in node.names:
        whole = f"{node.module}.{alias.name}"
        place = Place(whole, "") if _is_module(node.module, whole) else Place(node.module, alias.name)
        found.ours[alias.asname or alias.name] = place
        if not at_top:
            found.inner.add(place.module)


def _is_module(package: str, name: str) -> bool:
    spec = importlib.util.find_spec(package)
    is_package = spec is not None and spec.submodule_search_locations is not None
    return is_package and importlib.util.find_spec(name) is not None


def _alone(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], node.level)


def _statements(found: Source, body: list[ast.stmt]) -> Iterator[Statement]:
    """Statements with their comments, and with the strings that explain the names above them."""
    nodes: list[tuple[ast.stmt, ...]] = []
    for node in body:
        if nodes and _is_text(node) and isinstance(nodes[-1][0], ast.Assign | ast.AnnAssign):
            nodes[-1] += (node,)
        else:
            nodes.append((node,))
    for group in nodes:
        decorators = getattr(group[0], "decorator_list", [])
        first = min(part.lineno for part in (group[0], *decorators))
        while first > 1 and found.lines[first - 2].startswith("#"):
            first -= 1
        yield Statement(group, first, group[-1].end_lineno or first)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _note_statement(found: Source, statement: Statement) -> None:
    node = statement.nodes[0]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = [] if node.name == "_" else [node.name]
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    else:
        names = []
    for name in names:
        require(name not in found.definitions, f"{found.name} defines {name} twice, which can't be followed")
        found.definitions[name] = statement
    if not names:
        found.effects.append(statement)


def reads(node: ast.AST, hidden: frozenset[str] = frozenset()) -> Iterator[tuple[ast.Name, frozenset[str]]]:
    """The names in a statement that mean what stands at the top of its module, each with those that are bound there."""
    if isinstance(node, ast.Name):
        if node.id not in hidden:
            yield node, hidden
        return
    for child, bound in _parts(node):
        yield from reads(child, hidden | bound)


def _parts(node: ast.AST) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """What a node consists of, each part with the names that the node binds for it."""
    inside: list[ast.AST] = []
    bound: frozenset[str] = frozenset()
    if isinstance(node, FUNCTIONS):
        inside, bound = [*(node.body if isinstance(node.body, list) else [node.body])], _bound(node)
    elif isinstance(node, COMPREHENSIONS):
        inside, bound = [*ast.iter_child_nodes(node)], _bound(node)
    elif isinstance(node, ast.ClassDef):  # whose functions do not see what its body binds
        inside = [part for part in node.body if not isinstance(part, FUNCTIONS)]
        bound = frozenset(name for part in inside for name in _stored(part))
    for child in ast.iter_child_nodes(node):
        yield child, bound if child in inside else frozenset()


def _stored(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


def _bound(scope: ast.AST) -> frozenset[str]:
    """The names that a function or a comprehension binds for itself."""
    names: set[str] = set()
    if isinstance(scope, FUNCTIONS):
        names |= {argument.arg for argument in ast.walk(scope.args) if isinstance(argument, ast.arg)}
    pending = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Global):
            return frozenset(names - set(node.names))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            names |= {node.name} if node.name else set()
        elif isinstance(node, ast.Import | ast.ImportFrom) and not is_ours(node):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        if not isinstance(node, (*FUNCTIONS, *COMPREHENSIONS, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return frozenset(names)
