"""Samples that other processes load ahead."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch.utils.data import DataLoader

from core import machine

Batch = TypeVar("Batch")


@contextmanager
def loading(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """Give what a loader loads; its processes end with the `with`, also after an error.

    They leave signals to the process that they load for, which may want to finish its step. So nothing else ends them:
    without the `with`, a program whose traceback still holds the loader would wait for them forever at its exit.
    """
    loader.worker_init_fn = _leave_signals
    batches = iter(loader)
    try:
        yield batches
    finally:
        if loader.num_workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]  # else done when its last reference goes


def _leave_signals(worker: int) -> None:
    for number in machine.ASKED:
        signal.signal(number, signal.SIG_IGN)
