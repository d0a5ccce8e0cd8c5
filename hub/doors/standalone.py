"""Definitions of ours and all that they use, as the text of one file that imports nothing of ours.

From each module those definitions are taken that are reached by name, as they stand, with the comments above them; they
follow one another in the order of the imports. What a file of its own needs is changed, and no more:

    imports of ours   are left out; `module.name` becomes `name`
    names             that two modules define get the name of their module before them
    shapes            `Float[Tensor, "b k h w"]` of jaxtyping stays, and means `Tensor`
    operators         of PyTorch are registered under the name of the file, so that ours may be loaded beside them
    modules           that are values become a namespace of their functions; those that only functions import, such as
                      Triton's kernels, stand under the condition that the packages that they need are there
"""

import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import listed, require
from hub.doors.sources import Place, Source, Statement, is_ours, reads, source

ALLOWED = ("torch", "timm", "einops", "transformers")
"""What the file may import beside Python's own library."""

SHAPES = '''class {name}:
    """Stands in for jaxtyping's: a tensor whose axes have the names that follow."""

    def __class_getitem__(cls, item):
        return item[0]'''

OPERATORS = 'OPERATORS = re.sub(r"\\W", "_", __name__)'
REMOVED = "# removed"

Edit = tuple[tuple[int, int], tuple[int, int], str]
"""Where a text begins and ends (line, byte of it), and what stands there instead."""


@dataclass
class Reached:
    """What is taken of one module; `whole`: it is a value somewhere."""

    source: Source
    names: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    whole: bool = False

    @property
    def statements(self) -> list[Statement]:
        """In the order of the module; an effect comes with the first definition that it names."""
        chosen = [self.source.definitions[name] for name in self.names]
        chosen += [effect for effect in self.source.effects if _subject(self.source, effect) in self.names]
        return sorted({statement.first: statement for statement in chosen}.values(), key=lambda each: each.first)

    @property
    def functions(self) -> list[str]:
        """The names of the module's public functions."""
        found = self.source.definitions.items()
        return [name for name, each in found if isinstance(each.nodes[0], ast.FunctionDef) and name[0] != "_"]


def _subject(of: Source, effect: Statement) -> str | None:
    names = sorted((name.lineno, name.col_offset, name.id) for name, _ in reads(effect.nodes[0]))
    return next((name for *_, name in names if name in of.definitions), None)


class Standalone:
    """A file in the making: `reach` what it must define, then take its `text`.

    Args:
        instead: what stands in for a definition of ours.
    """

    def __init__(self, instead: Mapping[Place, Place]) -> None:
        self.instead = instead
        self.modules: dict[str, Reached] = {}

    def reach(self, place: Place) -> None:
        """Take a definition and all that it uses; a place without a name stands for all functions of a module.

        Raises:
            ValueError: if there is no such definition.
        """
        module, name = self.instead.get(place, place)
        reached = self.modules.setdefault(module, Reached(source(module)))
        if not name and not reached.whole:
            reached.whole = True
            for function in reached.functions:
                self.reach(Place(module, function))
        if not name or name in reached.names:
            return
        require(name in reached.source.definitions, f"{module} does not define {name}, which is imported from there")
        before = reached.statements
        reached.names.add(name)
        for statement in reached.statements:
            if statement not in before:
                self._follow(reached, statement)

    def _follow(self, reached: Reached, statement: Statement) -> None:
        for _, _, meant in self._meanings(reached.source, statement):
            if isinstance(meant, Place):
                self.reach(meant)
            else:
                reached.foreign.add(meant)

    def _meanings(self, of: Source, statement: Statement) -> Iterator[tuple[ast.expr, frozenset[str], Place | str]]:
        """What the names in a statement mean, with `module.name` as one: a definition of ours, or an import."""
        for node in statement.nodes:
            attributes = {id(part.value): part for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            for name, hidden in reads(node):
                if name.id in of.foreign:
                    yield name, hidden, name.id
                elif name.id in of.definitions:
                    place = Place(of.name, name.id)
                    yield name, hidden, self.instead.get(place, place)
                elif name.id in of.ours:
                    place, attribute = of.ours[name.id], attributes.get(id(name))
                    if place.name or attribute is None:
                        yield name, hidden, self.instead.get(place, place)
                    else:
                        yield attribute, hidden, Place(place.module, attribute.attr)

    def called(self, place: Place) -> str:
        """What a definition is called in the file."""
        return self._final(self._ordered())[self.instead.get(place, place)]

    def text(self) -> str:
        """The file.

        Raises:
            ValueError: if a name would have two meanings, or the file would import what is not allowed.
        """
        ordered = self._ordered()
        names = self._final(ordered)
        inner = {module for reached in ordered for module in reached.source.inner}
        parts = [_imports([reached for reached in ordered if reached.source.name not in inner])]
        for reached in ordered:
            body = self._module(reached, names)
            parts.append(_conditional(reached, body) if reached.source.name in inner else body)
        return "\n\n\n".join(parts) + "\n"

    def _ordered(self) -> list[Reached]:
        """Modules after those that they import; what only functions import comes last."""
        done: dict[str, Reached] = {}

        def visit(name: str) -> None:
            of = self.modules[name].source
            for place in (self.instead.get(place, place) for place in of.ours.values()):
                if place.module in self.modules and place.module not in {*of.inner, *done}:
                    visit(place.module)
            done[name] = self.modules[name]

        inner = {module for reached in self.modules.values() for module in reached.source.inner}
        for name in sorted(self.modules, key=lambda name: (name in inner, name)):
            if name not in done:
                visit(name)
        return list(done.values())

    def _final(self, ordered: Sequence[Reached]) -> dict[Place, str]:
        """What each definition is called in the file."""
        owners: dict[str, set[str]] = {}
        for reached in ordered:
            for name in reached.names:
                owners.setdefault(name, set()).add(reached.source.name)
            for name in reached.foreign:
                owners.setdefault(name, set()).add(reached.source.foreign[name])
        final: dict[Place, str] = {}
        for reached in ordered:
            module, short = reached.source.name, reached.source.name.rpartition(".")[2]
            for name in reached.names:
                private = "_" if name.startswith("_") else ""
                qualified = f"{private}{short}_{name.removeprefix('_')}"
                final[Place(module, name)] = name if len(owners[name]) == 1 else qualified
            if reached.whole:
                final[Place(module, "")] = short
        foreign = {(name, reached.source.foreign[name]) for reached in ordered for name in reached.foreign}
        taken = [*final.values(), *(name for name, _ in foreign)]
        twice = sorted({name for name in taken if taken.count(name) > 1})
        require(not twice, f"in one file {listed(twice)} would mean two things; rename one of them")
        return final

    def _module(self, reached: Reached, names: Mapping[Place, str]) -> str:
        of = reached.source
        parts = [f"# {of.name.replace('.', '/')}.py" + (f"\n\n{of.docstring}" if of.docstring else "")]
        parts += [self._edited(of, statement, names) for statement in reached.statements]
        if reached.whole:
            functions = ", ".join(f"{name}={names[Place(of.name, name)]}" for name in reached.functions)
            parts.append(f"{names[Place(of.name, '')]} = types.SimpleNamespace({functions})")
        return "\n\n\n".join(parts)

    def _edited(self, of: Source, statement: Statement, names: Mapping[Place, str]) -> str:
        lines = [line.encode() for line in of.lines]
        for (line, start), (end_line, end), new in sorted(self._edits(of, statement, names), reverse=True):
            require(line == end_line, f"{of.name}, line {line}: what becomes {new} must stand on one line")
            lines[line - 1] = lines[line - 1][:start] + new.encode() + lines[line - 1][end:]
        return "\n".join(
            line.decode() for line in lines[statement.first - 1 : statement.last] if line != REMOVED.encode()
        )

    def _edits(self, of: Source, statement: Statement, names: Mapping[Place, str]) -> Iterator[Edit]:
        for where, hidden, meant in self._meanings(of, statement):
            if isinstance(meant, Place):
                require(
                    names[meant] not in hidden,
                    f"{of.name}, line {where.lineno}: {names[meant]} would mean what is bound there; rename that",
                )
                yield (*_extent(where), names[meant])
        for node in statement.nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in of.definitions:
                start = node.col_offset + len("def " if isinstance(node, ast.FunctionDef) else "class ")
                new = names[Place(of.name, node.name)]
                yield (node.lineno, start), (node.lineno, start + len(node.name.encode())), new
            for part in ast.walk(node):
                if isinstance(part, ast.Import | ast.ImportFrom) and is_ours(part):
                    yield (part.lineno, 0), (part.lineno, len(of.lines[part.lineno - 1].encode())), REMOVED
                elif isinstance(part, ast.Call) and ast.unparse(part.func).endswith(".custom_op"):
                    operator = part.args[0]
                    yield (*_extent(operator), f'OPERATORS + "::{ast.literal_eval(operator).partition("::")[2]}"')


def _extent(node: ast.expr) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def _imports(reached: Sequence[Reached]) -> str:
    """What stands at the top: imports, and what stands in for jaxtyping."""
    statements = {"import re", "import types"}
    shapes: set[str] = set()
    for each in reached:
        for name in each.foreign:
            statement = each.source.foreign[name]
            if statement.startswith("from jaxtyping import"):
                shapes.add(name)
            else:
                statements.add(statement)
    for statement in statements:
        package = statement.split()[1].split(".")[0]
        require(
            package in ALLOWED or package in sys.stdlib_module_names,
            f"the file would need {package} ({statement!r}), which may be missing where it is loaded; use only "
            f"{', '.join(ALLOWED)}, or import it where a published network does not come by",
        )
    classes = [SHAPES.format(name=name) for name in sorted(shapes)]
    return "\n\n\n".join(["\n".join(sorted(statements)), OPERATORS, *classes])


def _conditional(reached: Reached, body: str) -> str:
    """What needs packages that may be missing."""
    foreign = sorted({reached.source.foreign[name] for name in reached.foreign})
    doubtful = [each for each in foreign if each.split()[1].split(".")[0] not in (*ALLOWED, *sys.stdlib_module_names)]
    available = f"{reached.source.name.rpartition('.')[2].upper()}_AVAILABLE"
    tried = textwrap.indent("\n".join([*doubtful, f"{available} = True"]), "    ")
    sure = "\n".join(each for each in foreign if each not in doubtful)
    failed = f"except ImportError:\n    {available} = False"
    return f"{sure}\n\ntry:\n{tried}\n{failed}\n\nif {available}:\n{textwrap.indent(body, '    ')}"
