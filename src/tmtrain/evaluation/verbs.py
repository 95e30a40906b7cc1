"""`evaluate`: models x machines x capacities x policies -> a folder with results, runs and a sensitivity study.

Parts run side by side in processes of their own. Each leaves a file when it is done, so that a run that was interrupted can
be resumed; at the end they are put together and go away.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import msgspec

from tmtrain import __version__
from tmtrain.bundle import DIGEST, is_sealed
from tmtrain.errors import InfeasibleError
from tmtrain.evaluation.monitored import MONITOR_SCHEMA, MonitorRecord
from tmtrain.evaluation.part import StudyPart, StudyTask, run_part
from tmtrain.evaluation.record_file import write_record
from tmtrain.evaluation.row import SCHEMA, Results
from tmtrain.evaluation.sensitivity import SENSITIVITY_SCHEMA, Sensitivity
from tmtrain.evaluation.source import trace_of
from tmtrain.evaluation.study import Study, Tell
from tmtrain.evaluation.study_folder import PARTS, RESULTS, study_folder
from tmtrain.evaluation.workers import compute_parts
from tmtrain.lowering.measured import check_measured
from tmtrain.machine import load_machine
from tmtrain.trace import trace_fingerprint


def evaluate(
    study: Study,
    *,
    out: Path,
    jobs: int = 1,
    resume: bool = False,
    force: bool = False,
    executor: Executor | None = None,
    tell: Tell = lambda _: None,
) -> Results:
    """Run every policy in every setting; leave results, sensitivity, what the monitor is worth, and ``runs/`` in `out`.

    Args:
        study: What to compare.
        out: Folder; made if it is not there.
        jobs: Settings at once.
        resume: Take over the settings that an interrupted run of the same study, by the same release, left in `out`.
        force: Replace what an earlier study left in `out`.
        executor: Computes the settings in place of `jobs` processes of ours; what it runs must be able to write into `out`.
        tell: Called with a line before each piece of work; with several jobs, after each setting.

    Raises:
        InputError: an unknown model, machine, policy or objective, another study or foreign files in `out` (before
            anything is computed), or a full disk.
        WorkerDiedError: a setting's process was killed twice; what is done is kept.
        InfeasibleError: every setting has a capacity that one operator alone exceeds.
    """
    study.check()
    with study_folder(out, resume=resume, force=force):
        parts = list(_parts(study, out=out, jobs=jobs, executor=executor, tell=tell))
        results = Results(
            schema=SCHEMA,
            rows=[row for part in parts for row in part.rows],
            refusals=[refusal for part in parts for refusal in part.refusals],
        )
        if not results.rows:
            first = results.refusals[0]
            raise InfeasibleError(first.reason, limit="memory", capacity_bytes=first.budget_bytes)
        _write_all(study, results, parts, out=out)
        shutil.rmtree(out / PARTS, ignore_errors=True)
    return results


def _write_all(study: Study, results: Results, parts: list[StudyPart], *, out: Path) -> None:
    write_record(out / RESULTS, results)
    if study.sensitivity:
        cases = [case for part in parts for case in part.cases]
        write_record(out / "sensitivity.json", Sensitivity(schema=SENSITIVITY_SCHEMA, cases=cases))
    if study.monitor:
        monitored = [run for part in parts for run in part.monitored]
        write_record(out / "monitor.json", MonitorRecord(schema=MONITOR_SCHEMA, runs=monitored))


def _parts(
    study: Study, *, out: Path, jobs: int, executor: Executor | None, tell: Tell
) -> Iterator[StudyPart]:
    """Return the parts in the order of the study."""
    tasks = _tasks(study, out=out, tell=tell)
    if jobs == 1 and executor is None:
        yield from (_kept(task, tell) for task in tasks)
        return
    all_tasks = list(tasks)
    parts = compute_parts(_kept, all_tasks, jobs=jobs, executor=executor, title=lambda task: task.title)
    for number, (task, part) in enumerate(zip(all_tasks, parts, strict=True), start=1):
        yield part
        tell(f"{number} of {len(all_tasks)} settings done: {task.title}")


def _tasks(study: Study, *, out: Path, tell: Tell) -> Iterator[StudyTask]:
    machines = [load_machine(name, calibration=study.calibration) for name in study.machines]
    for model in study.models:
        tell(f"{model}: capture")
        begin = time.perf_counter()
        trace = trace_of(model, study.options)
        capture_s = time.perf_counter() - begin
        if "step" in trace.options:
            tell(f"{model}: step {trace.options['step']}")
        if study.calibration is not None:
            check_measured(trace, machines[0], file=study.calibration)
        for machine in machines:
            for fast in study.fasts:
                yield StudyTask(
                    trace=trace, machine=machine, fast=fast, study=study, out=out, capture_s=capture_s
                )


def _kept(task: StudyTask, tell: Tell = lambda _: None) -> StudyPart:
    """Run a part, or read what an earlier run left of the same one."""
    path = task.out / PARTS / f"{task.name}.{_digest(task)}.json"
    known = _known_part(path)
    if known is not None:
        return known
    part = run_part(task, tell)
    if part.rows:
        write_record(path, part)
    return part


def _known_part(path: Path) -> StudyPart | None:
    """Read what an earlier run left; what is damaged counts as not done."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        if not is_sealed(record):
            return None
        del record[DIGEST]
        return msgspec.convert(record, StudyPart)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _digest(task: StudyTask) -> str:
    """Identify everything that a part depends on."""
    study = task.study
    parts = (
        __version__,
        trace_fingerprint(task.trace),
        task.machine.fingerprint,
        task.machine.prices,
        str(task.fast),
        study.objective,
        study.policies,
        study.bounded,
        study.keep_runs,
        study.sensitivity and task.is_first,
        study.monitor and task.is_first,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
