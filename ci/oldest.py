"""The oldest torch that is supported, as constraints for pip: the lower bounds in pyproject.toml.

python -m ci.oldest > constraints.txt && PIP_CONSTRAINT=constraints.txt bash .ci/run

Needs nothing but Python, for it runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
HELD = ("torch", "torchvision")


def constraints(pyproject: Path = PYPROJECT) -> list[str]:
    """A line for torch and for torchvision.

    Raises:
        ValueError: if one has no lower bound there.
    """
    needs = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    found = [re.fullmatch(r"([\w-]+)>=([\d.]+)", need) for need in needs]
    bounds = {bound[1]: bound[2] for bound in found if bound is not None}
    if missing := [name for name in HELD if name not in bounds]:
        raise ValueError(f"{pyproject} must have a line {missing[0]}>=VERSION")
    return [f"{name}=={bounds[name]}.*" for name in HELD]


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints()) + "\n")
