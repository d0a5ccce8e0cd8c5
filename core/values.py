"""Frozen values as JSON and back, and what differs between two of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_origin, get_type_hints

import cattrs

from core.errors import refuse_unknown

_converter = cattrs.Converter(forbid_extra_keys=True)


_converter.register_unstructure_hook(Path, str)


_converter.register_structure_hook(Path, lambda value, _: Path(value))


Kind = TypeVar("Kind")


def _word(value: Any, literal: Any) -> Any:
    refuse_unknown("it", value, literal)
    return value


_converter.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, _word)


def to_json(value: Any) -> Any:
    """Turn a frozen value into what `json.dumps` takes; tuples become lists."""
    return _lists(_converter.unstructure(value))


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(kind: Callable[..., Kind], value: Any) -> Kind:
    """Rebuild a frozen value of the given kind from what `to_json` gave.

    Raises:
        ValueError: naming each field that is missing, unknown or of a wrong type.
    """
    try:
        return _converter.structure(value, cast(type[Kind], kind))
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"not a {kind.__name__}: {'; '.join(cattrs.transform_error(error, format_exception=_said))}"
        ) from error


def checked(value: Kind) -> Kind:
    """A frozen value whose words are all among the allowed ones, which a Literal alone does not see to.

    Raises:
        ValueError: naming the field, its word and the allowed ones.
    """
    for name, kind in get_type_hints(type(value)).items():
        if get_origin(kind) is Literal:
            refuse_unknown(name, getattr(value, name), kind)
    return value


def _said(error: BaseException, kind: Any) -> str:
    return str(error) if get_origin(kind) is Literal else cattrs.v.format_exception(error, kind)


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
