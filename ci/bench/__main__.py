"""Benchmarks: python -m ci.bench NAME [options]; NAME --help lists the options.

attention   time, memory and error of the exact attention
step        a whole training step of any recipe
testing     an image through sliding windows
regions     RANet's regions and their interaction
data        images a second that a core makes ready for training
gpu         all of these on a GPU, in a given time

The exit code is 1 if a target is missed, and 2 if nothing could be measured.
"""

import sys
from collections.abc import Callable

import tyro

from ci.bench import attention, data, gpu, regions, step, testing
from core.errors import door, refuse

BENCHES: dict[str, Callable[..., int]] = {
    "attention": attention.main,
    "step": step.main,
    "testing": testing.main,
    "regions": regions.main,
    "data": data.main,
    "gpu": gpu.main,
}


def main(arguments: list[str]) -> int:
    """Run the benchmark that the command line names, and return the exit code."""
    name, *words = arguments or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return 0
    if name not in BENCHES:
        refuse(f"there is no benchmark {name!r}; there are {', '.join(BENCHES)}")
    with door():
        return tyro.cli(BENCHES[name], prog=f"python -m ci.bench {name}", args=words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
