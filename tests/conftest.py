"""What the tests share: they compute on the CPU, but for those that are marked `cuda`.

Large packages are not imported above: the process that hands out tests to others imports this file too, and runs none.
"""

import atexit
import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker of `-n` end without taking apart what it has imported, for which it needs seconds."""
    if hasattr(config, "workerinput"):
        atexit.register(os._exit, 0)  # registered first, it comes last


def pytest_collection(session: pytest.Session) -> None:
    """Check shapes and types in each module that imports jaxtyping: the others' functions are called a million times.

    Not where pytest's plugins are switched off: a planted mistake must be noticed by a value. And look for no garbage
    among what is imported: there is none, and much to look through.
    """
    if session.config.pluginmanager.hasplugin("jaxtyping"):
        files = [file for room in ("core", "papers", "hub") for file in (ROOT / room).rglob("*.py")]
        shaped = [file for file in files if "\nfrom jaxtyping import" in file.read_text(encoding="utf-8")]
        names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in shaped]
        jaxtyping.install_import_hook(names, "typed.checked")
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for it among what the tests make, and take this worker's share of the cores: threads wait for each other."""
    import torch

    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # nanobind would take what stays for a leak
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))


def pytest_collectstart() -> None:
    """Import what is large before our packages: jaxtyping has what these import compiled from source each time."""
    for name in ("beartype.door", "huggingface_hub.hf_api", "matplotlib.figure", "scipy.io", "timm", "tyro"):
        importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test means the CPU unless it says otherwise, and so do the processes that it starts.

    Threads that a command takes are given back: workers of which each uses all cores wait for each other.
    """
    import torch

    if request.node.get_closest_marker("cuda") is None:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def types_in_quick_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check types and shapes where a test is quick: slow ones call the same functions, only more often."""
    if request.node.get_closest_marker("slow"):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session", autouse=True)
def undrawn() -> Iterator[None]:
    """Runs draw no curves and no matrix but where a test looks at them: `with tiny.drawing()`."""
    with sys.modules["tiny"].undrawn() if "tiny" in sys.modules else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session", autouse=True)
def server(request: pytest.FixtureRequest) -> None:
    """Start what `forked.py` forks from before a test starts processes that load images, from the same server."""
    slow = {getattr(item, "module", None) for item in request.session.items if item.get_closest_marker("slow")}
    if any(hasattr(module, "forked") for module in slow):
        sys.modules["forked"].serve()


@pytest.fixture
def no_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users: the type checks of the tests would refuse what is wrong before we can, and can't be compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def one_thread() -> None:
    """Equality to the last bit needs the same number of threads in every process."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def alone(one_thread: None) -> Iterator[None]:
    """A run is the first of its process, and leaves nothing of it to others."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
