"""What the tests check types and shapes with; `conftest.py` has it put before the functions of our packages."""

from collections.abc import Callable
from typing import Any

import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that checks its types.

    One that another function makes stays as it is: it would be made anew in each call, which takes milliseconds.
    """
    return function if "<locals>" in function.__qualname__ else beartype.beartype(function)
