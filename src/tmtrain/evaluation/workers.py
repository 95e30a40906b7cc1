"""Workers: processes that compute parts side by side. One that dies is noticed, and its part is tried once more, alone."""

import gc
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tmtrain.errors import WorkerDiedError

_T = TypeVar("_T")
_R = TypeVar("_R")

RARELY = (200_000, 50, 50)
"""Thresholds of Python's collector in workers: an engine makes millions of objects and no cycles, and looking for them
costs 5 to 10 % of it."""


def compute_parts(
    compute: Callable[[_T], _R],
    tasks: Sequence[_T],
    *,
    jobs: int,
    executor: Executor | None = None,
    title: Callable[[_T], str] = str,
) -> Iterator[_R]:
    """Yield ``compute(task)`` of every task, in their order.

    Args:
        compute: Of a module, since processes import it.
        tasks: What to compute.
        jobs: How many at once, each in a process of its own.
        executor: Computes them in place of our processes; left open.
        title: Names a task to people.

    Raises:
        WorkerDiedError: a process was killed, and so was the one that tried the same task again alone.
    """
    if executor is not None:
        yield from _in_order(executor, compute, tasks, title=title)
        return
    done = 0
    try:
        with _processes(jobs) as pool:
            for part in _in_order(pool, compute, tasks, title=title):
                yield part
                done += 1
    except WorkerDiedError:
        # Whoever died has taken the others of its pool along, and perhaps it was only that together they were too large.
        with _processes(1) as pool:
            yield from _in_order(pool, compute, tasks[done:], title=title)


def _in_order(
    executor: Executor, compute: Callable[[_T], _R], tasks: Sequence[_T], *, title: Callable[[_T], str]
) -> Iterator[_R]:
    running: list[tuple[_T, Future[_R]]] = []
    try:
        running += [(task, executor.submit(compute, task)) for task in tasks]
        for task, future in running:
            try:
                yield future.result()
            except (BrokenExecutor, CancelledError) as error:
                raise WorkerDiedError(
                    f"{title(task)}: the process that computed it was killed, most likely since memory ran out. What is "
                    "done is kept: go on with --resume, and --jobs 1 or a smaller model"
                ) from error
    finally:
        for _, future in running:
            future.cancel()


@contextmanager
def _processes(jobs: int) -> Generator[Executor]:
    """Open a pool of processes that ends at once, whatever it is doing, when the block is left."""
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_begin_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
            process.join()


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's
    gc.set_threshold(*RARELY)
