"""Would the tests of a paper notice? Plants each mistake of `ci.planted` in a copy of the tree and runs those tests.

    python -m ci.mutations                  all of them, two at a time
    python -m ci.mutations flip dropout     those whose description has one of the words

It prints a line for each, and at the end those that no test noticed. The exit code is 0 if there are none, 1 if there
are, and 2 if one could not be judged: its text is not in its file exactly once, its tests fail without it, or they
break off. It stands here beside the other gates and not among the tests, which it runs: a test of it runs one mistake.

Everything that is not ours is imported once; each mistake is then a process of its own, forked from there.
"""

import multiprocessing
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ci.planted import MISTAKES
from ci.planted.mistake import Mistake

ROOT = Path(__file__).parent.parent
OURS = ("ci", "core", "hub", "papers")
FOREIGN = (
    *("accelerate", "beartype", "cattrs", "einops", "huggingface_hub", "jaxtyping", "numpy", "pandas", "PIL", "pytest"),
    *("safetensors.torch", "scipy", "timm", "torch", "torchvision.transforms.v2", "tqdm", "tyro"),
)

FAILED, PASSED = 1, 0  # of pytest; every other code says that it broke off

ONE_FORK = threading.Lock()
"""Held while a process is forked: what is forked while another thread forks finds libraries half prepared for it."""

Verdict = Literal["noticed", "missed", "not judged"]


@dataclass(frozen=True)
class Result:
    """What one paper's tests say of a mistake; without a mistake, of the tree as it is."""

    mistake: Mistake | None
    tests: tuple[str, ...]
    verdict: Verdict
    sentence: str

    def __str__(self) -> str:
        what = "nothing planted" if self.mistake is None else self.mistake.what
        return f"{self.verdict:10} {what}: {self.sentence}"


def preload() -> None:
    """Import what is not ours, so that forked processes need not."""
    for name in FOREIGN:
        import_module(name)


def copy_tree(to: Path) -> Path:
    """Copy what git knows or does not ignore, compiled so that a changed file is compiled again whatever its date."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)
    for file in to.rglob("*.py"):
        py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return to


def passes(tree: Path, tests: Sequence[str]) -> int:
    """Run tests in a tree, in a process of their own, and return pytest's exit code."""
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(tree, tests))
    with ONE_FORK:
        process.start()
    process.join()
    return process.exitcode if process.exitcode is not None else -1


def _pytest(tree: Path, tests: Sequence[str]) -> None:
    """Of the forked process: forget our modules, take those of the tree, and run."""
    import pytest
    import torch

    torch.set_num_threads(1)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed, and they take a quarter of a short run
    os.chdir(tree)
    for name, module in list(sys.modules.items()):
        if name != "__main__" and (name in OURS or _ours(Path(getattr(module, "__file__", None) or "/"))):
            del sys.modules[name]
    elsewhere = [path for path in sys.path if not _ours(Path(path or ROOT).resolve())]
    sys.path[:] = [str(tree), *elsewhere]
    sys.dont_write_bytecode = True
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        quick = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "-W", "ignore:Module already imported"]
        code = pytest.main([*quick, *tests])
        os._exit(int(code))


def _ours(path: Path) -> bool:
    """Return True if a path lies in this tree and not in a virtual environment inside it."""
    return path.is_relative_to(ROOT) and not path.is_relative_to(sys.prefix)


def judge(mistake: Mistake, tests: tuple[str, ...], tree: Path) -> Result:
    """Plant a mistake in a tree, run one paper's tests, and take it out again."""
    file = tree / mistake.file
    text = file.read_text() if file.is_file() else ""
    found = text.count(mistake.old)
    if found != 1:
        return Result(mistake, tests, "not judged", f"its text is {found} times in {mistake.file}, and must be once")
    file.write_text(text.replace(mistake.old, mistake.new))
    try:
        code = passes(tree, tests)
    finally:
        file.write_text(text)
    words = " ".join(tests)
    if code == FAILED:
        return Result(mistake, tests, "noticed", words)
    if code == PASSED:
        return Result(mistake, tests, "missed", f"{words} pass with {mistake.new!r} for {mistake.old!r}")
    return Result(mistake, tests, "not judged", f"{words} break off with exit code {code}")


def sound(tests: tuple[str, ...], tree: Path) -> Result:
    """Run tests without a mistake, for what fails anyhow notices nothing."""
    code = passes(tree, tests)
    words = " ".join(tests)
    if code == PASSED:
        return Result(None, tests, "noticed", f"{words} pass")
    return Result(None, tests, "not judged", f"{words} must pass and end with exit code {code}")


def run(mistakes: Iterable[Mistake], workers: int = 2) -> list[Result]:
    """Judge the mistakes, in as many trees as there are workers."""
    preload()
    cases = [(mistake, tests) for mistake in mistakes for tests in mistake.runs()]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        free = [copy_tree(Path(folder) / str(number)) for number in range(workers)]

        def one(case: tuple[Mistake | None, tuple[str, ...]]) -> Result:
            tree = free.pop()
            mistake, tests = case
            result = sound(tests, tree) if mistake is None else judge(mistake, tests, tree)
            free.append(tree)
            say(str(result))
            return result

        unharmed = dict.fromkeys(tests for _, tests in cases)
        return list(pool.map(one, [*((None, tests) for tests in unharmed), *cases]))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(words: Annotated[tuple[str, ...], tyro.conf.Positional] = ()) -> int:
    """Judge all mistakes, or those that one of the words describes, and return the exit code."""
    started = time.perf_counter()
    chosen = [mistake for mistake in MISTAKES if not words or any(word in mistake.what for word in words)]
    results = run(chosen)
    wrong = [result for result in results if result.verdict != "noticed"]
    say(f"{len(results)} runs for {len(chosen)} mistakes in {time.perf_counter() - started:.0f} s")
    for result in wrong:
        say(str(result))
    if any(result.verdict == "not judged" for result in wrong) or not chosen:
        return 2
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
