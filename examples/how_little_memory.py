"""How little fast memory will do? Sweeps its size for one model: ``python examples/how_little_memory.py [MODEL]``."""

import sys

import tmtrain

SHARES = ("100%", "50%", "25%", "12.5%", "6.25%")


def main(model: str = "gpt2") -> None:
    """Print what each share of the footprint costs under our plan."""
    machine = tmtrain.load_machine("v4-slc")
    trace = tmtrain.capture_model(model)
    page_bytes = machine.slow.page_bytes
    print(
        f"{model}, batch {trace.samples}, footprint {trace.footprint_bytes / 2**20:,.1f} MiB, on {machine.name}"
    )
    print("fast memory   x ideal   traffic MiB   samples/J")
    for share in SHARES:
        fast_bytes = tmtrain.parse_fast(share).of(trace.footprint_bytes, page_bytes=page_bytes)
        try:
            timeline = tmtrain.lower(trace, machine=machine, fast_bytes=fast_bytes)
        except tmtrain.InfeasibleError as error:
            print(f"{share:>11}   {error}")
            break
        decision = tmtrain.make_policy("tmtrain").decide(timeline, machine=machine)
        result = tmtrain.simulate(decision, machine=machine, policy="tmtrain")
        slowdown = result.step_time_s / result.ideal_step_time_s
        traffic, per_joule = result.traffic_bytes / 2**20, trace.samples / result.energy_j
        print(f"{share:>11}   {slowdown:7.2f}   {traffic:11,.2f}   {per_joule:9.3g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
