"""What the tests share."""

import jaxtyping
import pytest


@pytest.fixture
def no_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users: the type checks of the tests would refuse a wrong Literal before we can."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
