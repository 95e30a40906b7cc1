"""Helpers for tests: drives that fail, and small steps and machines with round numbers. Imports no torch.

They are what the tests of tmtrain itself use. With them you can test a policy of your own, a script that trains, or what
becomes of a run when its drive breaks.

A policy of your own, on a step that is worked out by hand:

    >>> from tmtrain import make_policy, simulate
    >>> from tmtrain.testing import make_timeline, toy_machine
    >>> step = make_timeline(
    ...     ["a:new w:r", "b:new a:r", "b:r w:rw"], pages={"a": 2, "b": 1, "w": 3}, fast_pages=5, frees={1: "a", 2: "b"}
    ... )
    >>> machine = toy_machine(read_bytes_per_s=4096, write_bytes_per_s=4096)  # a page per second
    >>> policy = make_policy("lru")  # or an instance of your own subclass of `tmtrain.Policy`
    >>> result = simulate(policy.decide(step, machine=machine), machine=machine, policy=policy.name)
    >>> result.bytes_in / 4096, result.step_time_s
    (1.0, 5.0)

A training on a drive that lies: no wrong bit gets past the checksums.

    >>> import tempfile
    >>> import tmtrain, torch
    >>> from tmtrain.testing import Fault, faults
    >>> layers = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(4)))
    >>> optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
    >>> def step():
    ...     layers(torch.ones(8, 512)).sum().backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> def train_on(drive, folder):
    ...     drive.disarm()  # measuring the drive is not what is tested
    ...     with tmtrain.train(layers, optimizer, step, budget_bytes="4 MiB", flash=folder, restores=False) as training:
    ...         drive.arm()
    ...         training.step()
    >>> with tempfile.TemporaryDirectory(dir=".") as folder, faults(Fault(kind="flipped bit")) as drive:
    ...     train_on(drive, folder)
    Traceback (most recent call last):
    tmtrain.errors.FlashError: ... are not what was written: ...
"""

from tmtrain.runtime.host.energy import counters_under
from tmtrain.testing.faulty_drive import Fault, FaultKind, FaultyDrive, faults
from tmtrain.testing.machines import toy_machine
from tmtrain.testing.timelines import make_timeline
from tmtrain.testing.traces import make_trace
from tmtrain.trace import example_trace

__all__ = [
    "Fault",
    "FaultKind",
    "FaultyDrive",
    "counters_under",
    "example_trace",
    "faults",
    "make_timeline",
    "make_trace",
    "toy_machine",
]
