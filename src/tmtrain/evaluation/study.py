"""What to compare."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tmtrain.capturing import StepOptions
from tmtrain.evaluation.setting import MEASURES
from tmtrain.evaluation.source import check_source
from tmtrain.machine import DEFAULT_MACHINE, load_machine
from tmtrain.planning import check_objective
from tmtrain.policies import DEFAULT_POLICIES, make_policy
from tmtrain.units import FastCapacity

Tell = Callable[[str], None]
"""Called with a line before each piece of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Models x machines x capacities x policies."""

    models: tuple[str, ...]
    """Zoo models, ``FILE.py:FUNCTION``, or saved traces."""
    machines: tuple[str, ...] = (DEFAULT_MACHINE,)
    """Presets or TOML files."""
    calibration: Path | None = None
    """File of measured times of operators, on all machines."""
    fasts: tuple[FastCapacity, ...] = (FastCapacity(fraction=0.125),)
    objective: str = "energy"
    policies: tuple[str, ...] = DEFAULT_POLICIES
    options: StepOptions | None = None
    """For zoo models."""
    sensitivity: bool = True
    """Also move the uncertain constants, at the first capacity."""
    monitor: bool = True
    """Also try the timing monitor over a few steps that jitter, at the first capacity, if ours is among the policies."""
    bounded: tuple[str, ...] = MEASURES
    """Measures to bound besides the objective (`tmtrain.evaluation.setting`)."""
    keep_runs: bool = True
    """Leave what happened in each step, slice by slice: the figures of the report are made from it."""

    def check(self) -> None:
        """Refuse what does not exist, before anything is computed.

        Raises:
            InputError: an unknown model, machine, policy or objective, or measured times that cannot be read.
        """
        for machine in self.machines:
            load_machine(machine, calibration=self.calibration)
        check_objective(self.objective)
        for policy in self.policies:
            make_policy(policy)
        for model in self.models:
            check_source(model, self.options)
