"""Workers: results come in order, a killed process is noticed, and nothing runs on after the caller has left."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tmtrain.errors import WorkerDiedError
from tmtrain.evaluation.workers import compute_parts


def _killed(times: int, at: int, marks: Path, task: int) -> int:
    """Square a number; the process is killed the first so many times that this one is `at`."""
    if task == at and len(list(marks.iterdir())) < times:
        (marks / f"{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def _waiting(marks: Path, task: int) -> int:
    (marks / f"{task}").touch()
    time.sleep(60)
    return task


def test_a_killed_process_is_noticed_and_its_task_tried_again(tmp_path: Path) -> None:
    compute = partial(_killed, 1, 2, tmp_path)
    assert list(compute_parts(compute, range(4), jobs=2)) == [0, 1, 4, 9]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_task_that_kills_its_process_again_is_named(tmp_path: Path) -> None:
    done: list[int] = []
    parts = compute_parts(partial(_killed, 2, 2, tmp_path), range(4), jobs=2, title="number {}".format)
    with pytest.raises(WorkerDiedError, match=r"number 2: .* was killed.*--resume"):
        done.extend(parts)
    assert done == [0, 1]


def test_processes_end_at_once_when_the_caller_goes(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    parts = compute_parts(partial(_waiting, tmp_path), range(4), jobs=2)

    def interrupt_when_both_run() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupt = threading.Thread(target=interrupt_when_both_run)
    handler = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # whatever runs the tests may ignore it
    try:
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            next(parts)
        interrupt.join()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("compute", [abs, str])
def test_somebody_elses_executor_computes_and_stays_open(compute: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(2) as executor:
        parts = compute_parts(compute, range(-3, 3), jobs=1, executor=executor)
        assert list(parts) == [compute(n) for n in range(-3, 3)]
        assert executor.submit(abs, -1).result() == 1
