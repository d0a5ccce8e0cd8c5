"""The command line of every paper: a recipe by name, its fields and the machine's as options.

train.py [RECIPE] [--data DIR] [--recipe.optimisation.batch 16] [--run.precision bf16] ...
evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR] ...
"""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import new_class
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast, get_type_hints

import tyro

from core.cost import Cost
from core.errors import refuse, require
from core.recipe import AnyArchitecture, Precision, Recipe
from core.run import WHERE, Run
from core.values import RARE

Options = TypeVar("Options")

FITS = (
    "If a batch does not fit on one GPU, use several; they share it. --run.recompute keeps about a third of what the "
    "backbone makes and computes the rest again, which changes no number. --run.precision bf16 rounds products. "
    "--run.accumulate N takes a part at a time, and BatchNorm then sees that part alone."
)
"""What keeps a recipe where memory is short."""


@dataclass(frozen=True)
class TrainingOptions(Generic[AnyArchitecture]):
    """What a training command may change: the science in `--recipe.*`, the machine in `--run.*`."""

    recipe: Recipe[AnyArchitecture]
    run: Run = field(default_factory=Run)


@dataclass(frozen=True)
class EvaluationOptions(Generic[AnyArchitecture]):
    """What a test command may choose. `weights` is a run folder or a Hub repository; None: the recipe's run folder."""

    trained: ClassVar = frozenset({"architecture", "augmentation", "optimisation", "train", "validation"})
    """What a test has no use for, and --help leaves out."""

    recipe: Recipe[AnyArchitecture]
    weights: Annotated[str | None, tyro.conf.arg(help=f"{WHERE}; None: the recipe's run folder")] = None
    data: Annotated[Path | None, tyro.conf.arg(help="folder of the data set")] = None
    to: Annotated[Path | None, tyro.conf.arg(help="write the score there, as JSON")] = None
    submit: Annotated[
        Path | None, tyro.conf.arg(help="write the predictions there, as the data set's evaluation server takes them")
    ] = None
    workers: Annotated[
        int | None, tyro.conf.arg(help="processes that load images; None: as many as the machine's cores suggest")
    ] = None
    precision: Annotated[Precision, tyro.conf.arg(help="of products and convolutions; fp16 needs a GPU")] = "fp32"
    modules: Annotated[
        bool, tyro.conf.arg(help="test again without each module of the paper: what it contributes; a pass for each")
    ] = False

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 0, f"--workers must be at least 0, got {self.workers}")


def parse(
    options: Callable[..., Options],
    recipes: Mapping[str, Recipe[Any]],
    demo: str,
    arguments: Sequence[str],
    costs: Mapping[str, Cost] | None = None,
    **defaults: Any,
) -> Options:
    """Read a command line: an optional recipe name, then options.

    Args:
        options: the dataclass of what may be given, of a kind of architecture, with a field `recipe`.
        recipes: the paper's recipes by name.
        demo: the recipe that is taken without a name.
        arguments: the words after the program.
        costs: what training takes, by recipe; --help lists it.
        defaults: further fields of `options` that have no default of their own.

    Raises:
        SystemExit: after --help or --help-all, or with a sentence if a name or option is unknown or a value impossible.
    """
    words = list(arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else demo
    if name not in recipes:
        close = difflib.get_close_matches(name, recipes, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(recipes)}"
        refuse(f"there is no recipe {name!r}: {hint} (--help lists them with their reported numbers)")
    default = options(recipe=recipes[name], **defaults)
    kind = cast(Any, options)[type(recipes[name].architecture)]
    if "--help-all" in words:
        words = ["--help"]
    elif "--help" in words or "-h" in words:
        default = shortened(default, getattr(options, "trained", frozenset()))
        kind = type(default)
    program = f"{Path(sys.argv[0]).name} [RECIPE]"
    return tyro.cli(
        cast(type[Options], kind),
        prog=program,
        description=listing(recipes, demo, costs or {}),
        default=default,
        args=words,
        config=(tyro.conf.SuppressFixed,),
    )


def shortened(value: Any, left_out: frozenset[str]) -> Any:
    """A frozen value in classes of the same fields, where --help shows neither rare ones nor those `left_out`."""
    kind: Any = type(value)
    hints = get_type_hints(kind, include_extras=True)
    parts, shown = {}, {}
    for name in (each.name for each in fields(value)):
        part, hint = getattr(value, name), hints[name]
        if is_dataclass(part):
            part = shortened(part, left_out)
            hint = type(part)
        hidden = name in left_out or RARE in getattr(hint, "__metadata__", ())
        parts[name], shown[name] = part, Annotated[hint, tyro.conf.Suppress] if hidden else hint
    base = kind[Any] if getattr(kind, "__parameters__", ()) else kind
    body = {"__annotations__": shown, "__doc__": kind.__doc__}
    made: Any = new_class(kind.__name__, (base,), exec_body=lambda space: space.update(body))
    return dataclass(frozen=True)(made)(**parts)


def listing(recipes: Mapping[str, Recipe[Any]], demo: str, costs: Mapping[str, Cost]) -> str:
    """Every recipe with what it is, the number that its paper reports, and the GPU memory that its batch takes."""
    width = max(map(len, recipes))
    lines = [
        f"RECIPE is one of these; without one it is {demo}. Options below are those of the chosen recipe that commands "
        "change most; --help-all shows them all.",
        "",
    ]
    for name, recipe in recipes.items():
        numbers = "; ".join(f"{row.value:.2f} {row.metric}, {row.table}" for row in recipe.reported)
        said = f"reported {numbers}" if numbers else "no reported number"
        if name in costs:
            batch = recipe.optimisation.batch
            said += f"; batch {batch} takes {costs[name].words(batch)}"
        lines.append(f"- {name:<{width}}  {recipe.summary} ({said})")
    if costs:
        lines += ["", FITS]
    return "\n".join(lines)
