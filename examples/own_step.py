"""A step of your own, from Python: capture, lower, plan, simulate. ``python examples/own_step.py``."""

import torch

import tmtrain

model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256))
optimizer = torch.optim.AdamW(model.parameters(), foreach=False)


def step() -> None:
    """Train on one batch."""
    optimizer.zero_grad()
    model(torch.randn(64, 256)).square().mean().backward()
    optimizer.step()


step()  # the optimizer makes its state in the first step: the second is like all that follow
with tmtrain.capture(model, optimizer, name="mlp", samples=64) as captured:
    step()

machine = tmtrain.load_machine("v4-slc")
fast = tmtrain.parse_fast("25%").of(captured.trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
timeline = tmtrain.lower(captured.trace, machine=machine, fast_bytes=fast)

for policy in ("lru", "belady", "tmtrain"):
    decision = tmtrain.make_policy(policy, objective="energy").decide(timeline, machine=machine)
    result = tmtrain.simulate(decision, machine=machine, policy=policy)
    print(
        f"{policy:8} {result.step_time_s * 1e3:6.2f} ms  {result.traffic_bytes:>10,} bytes  {result.energy_j:.3f} J"
    )

plan = tmtrain.plan(timeline, machine=machine, objective="energy")
print(f"no {plan.certificate.covers} needs less than {plan.certificate.bound.value:.3f} J")
