"""All benchmarks of a GPU: each part is a command that its benchmark takes, and no benchmark is left out."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.bench import __main__ as bench
from ci.bench import gpu

Call = tuple[str, dict[str, Any]]


def calls(monkeypatch: pytest.MonkeyPatch, parts: tuple[tuple[str, ...], ...]) -> list[Call]:
    """What the parts ask of the benchmarks, none of which runs."""
    seen: list[Call] = []

    def spy(name: str, main: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(main)
        def noted(**given: Any) -> int:
            seen.append((name, given))
            return 0

        return noted

    for name, main in list(bench.BENCHES.items()):
        monkeypatch.setitem(bench.BENCHES, name, spy(name, main))
    for words in parts:
        assert bench.main(gpu.written(words, "cuda", Path("lines.json"))) == 0
    return seen


@pytest.mark.parametrize("parts", [gpu.PARTS, gpu.SMALL])
def test_each_part_is_a_command(monkeypatch: pytest.MonkeyPatch, parts: tuple[tuple[str, ...], ...]) -> None:
    seen = calls(monkeypatch, parts)
    assert [name for name, _ in seen] == [words[0] for words in parts]
    assert all(given["to"] == Path("lines.json") for _, given in seen)
    assert all(given["device"] == "cuda" for name, given in seen if name != "data")


def test_every_benchmark_is_a_part_and_the_data_are_last() -> None:
    assert {words[0] for words in gpu.PARTS} == set(bench.BENCHES) - {"gpu"}
    assert gpu.PARTS[-1][0] == "data"
