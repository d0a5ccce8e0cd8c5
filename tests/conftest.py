"""What the tests share."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch


@pytest.fixture
def no_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users: the type checks of the tests would refuse a wrong Literal before we can."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Equality to the last bit needs the same number of threads in every process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
