"""Frozen values as JSON and back, and what differs between two of them."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

import cattrs

from core.errors import refuse_unknown, require

Kind = TypeVar("Kind")

RARE = "left out of --help"
Rare = Annotated[Kind, RARE]
"""A field that few commands change: `core.command` takes it, and shows it by --help-all alone."""


_NAMES: dict[type, str] = {bool: "true or false", int: "a whole number", str: "a text"}


def _word(value: Any, literal: Any) -> Any:
    refuse_unknown("it", value, literal)
    return value


def _exactly(value: Any, kind: type[Kind]) -> Kind:
    require(type(value) is kind, f"it must be {_NAMES[kind]}, got {value!r}")
    return value


def _number(value: Any, _: Any) -> float:
    require(
        type(value) in (int, float) and abs(value) <= sys.float_info.max, f"it must be a finite number, got {value!r}"
    )
    return float(value)


def _tuple(value: Any, kind: Any) -> tuple[Any, ...]:
    require(isinstance(value, list | tuple), f"it must be a list, got {value!r}")
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    require(len(value) == len(kinds), f"it must have {len(kinds)} entries, got {len(value)}")
    return tuple(_converter.structure(item, part) for item, part in zip(value, kinds, strict=True))


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(Path, str)
_converter.register_unstructure_hook_func(
    lambda kind: get_origin(kind) is tuple, lambda value: [_converter.unstructure(item) for item in value]
)
_converter.register_structure_hook(Path, lambda value, _: Path(value))
for _kind in _NAMES:
    _converter.register_structure_hook(_kind, _exactly)
_converter.register_structure_hook(float, _number)
_converter.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, _word)
_converter.register_structure_hook_func(lambda kind: get_origin(kind) is tuple, _tuple)


def to_json(value: Any) -> Any:
    """Turn a frozen value into what `json.dumps` takes; tuples become lists."""
    return _lists(_converter.unstructure(value))


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(kind: Callable[..., Kind], value: Any) -> Kind:
    """Rebuild a frozen value of the given kind from what `to_json` gave.

    Types are strict: no "8", 8.0 or true stands for a whole number; a whole number may stand for a finite float.

    Raises:
        ValueError: naming each field that is missing, unknown, of a wrong type, or a word that is not allowed.
    """
    try:
        return _converter.structure(value, cast(type[Kind], kind))
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, RecursionError) as error:
        problems = [_placed(said) for said in cattrs.transform_error(error, format_exception=_said)]
        raise ValueError(f"not a valid {kind.__name__}: {'; '.join(problems)}") from error


def _said(error: BaseException, kind: Any) -> str:
    if isinstance(error, AttributeError):  # of what a table has
        return "it must be a table"
    return str(error) if isinstance(error, ValueError) else cattrs.v.format_exception(error, kind)


def _placed(said: str) -> str:
    """A sentence of cattrs, "it must be ... @ $.field", with the field in place of "it"."""
    sentence, _, place = said.rpartition(" @ $")
    return sentence.replace("it", place.removeprefix("."), 1) if place and sentence.startswith("it ") else said


def differences(published: Any, used: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two values of one kind: dotted field name -> (published, used), both as JSON."""
    old, new = flat(to_json(published)), flat(to_json(used))
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        name: leaf
        for key, item in value.items()
        for name, leaf in flat(item, f"{prefix}.{key}" if prefix else key).items()
    }
