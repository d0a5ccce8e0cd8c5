"""Work that many files need, in parallel processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_processes(
    work: Callable[..., Result], parts: Iterable[tuple[Any, ...]], number: int, processes: int | None = None
) -> Iterator[Result]:
    """Give `work(*part)` for each part, in the order in which they are done.

    Args:
        work: a function of a module, so that a process finds it.
        parts: the arguments of each call, of plain data; few of them are held at a time.
        number: how many parts there are.
        processes: how many work side by side; 0 works in this one, None takes one for each core.

    Raises:
        ValueError: if a process was killed from outside, as a system out of memory does.
    """
    count = min(cores() if processes is None else processes, number)
    if count < 1 or (processes is None and count == 1):
        yield from (work(*part) for part in parts)
        return
    context = _context(work.__module__)
    with ProcessPoolExecutor(count, context) as pool:
        waiting = iter(parts)
        running = {pool.submit(work, *part) for part in islice(waiting, 2 * count)}
        try:
            while running:
                done = next(as_completed(running))
                running.remove(done)
                running.update(pool.submit(work, *part) for part in islice(waiting, 1))
                yield done.result()
        except BrokenProcessPool as error:
            raise ValueError(
                "a process was killed from outside, perhaps for lack of memory; run the same command again, with "
                "fewer --processes"
            ) from error


def _context(module: str) -> BaseContext:
    """Processes that are not forked from this one, whose threads may hold locks, and that share what they import."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", module])
    return context


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
