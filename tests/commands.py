"""Commands as a user gives them, in the process of the tests."""

import sys
from collections.abc import Callable, Sequence

import pytest


def refused(
    main: Callable[[], object],
    words: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """What a command says on standard error; it must leave with status 2."""
    monkeypatch.setattr(sys, "argv", ["command", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    return capsys.readouterr().err
