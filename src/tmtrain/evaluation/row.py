"""One row of ``results.json``: one policy on one model, machine and capacity. The field docs are the schema."""

from dataclasses import dataclass

SCHEMA = 7
"""Version of ``results.json``: ``{"schema": SCHEMA, "rows": [Row, ...], "refusals": [Refusal, ...]}``, and a digest."""
RENAMED = {"replay_s": "recompute_s"}
"""Words of schema 4 and before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Certified lower bounds on one step of any plan of the class (`tmtrain.plans.CLASS`); null what was not asked for."""

    energy_j: float | None
    time_s: float | None
    traffic_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WallClock:
    """Seconds that tmtrain itself took, on the machine that ran it."""

    capture_s: float
    lower_s: float
    plan_s: float
    """Planning by this policy (0 for a policy that decides while it runs)."""
    simulate_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The memory of one policy at the prices of one date. What is counted stands in `tmtrain.evaluation.cost`."""

    fast_usd_per_byte: float
    """Price of fast memory at that date."""
    flash_usd_per_byte: float
    life_years: float
    """Over which memory is written off."""
    fast_usd: float
    """To buy."""
    flash_usd: float
    """To buy: for the whole footprint; 0 for all-fast."""
    fast_usd_per_step: float
    flash_usd_per_step: float
    """By age or by wear, whichever ends the flash first."""
    wear_usd_per_step: float
    """What the step's writes wear off the flash's price."""
    break_even_fast_usd_per_byte: float | None
    """Price of fast memory at which a step costs what it does with everything in it; above it, flash is cheaper. Null
    where no price is high enough, and for all-fast."""

    @property
    def usd(self) -> float:
        """To buy, both tiers."""
        return self.fast_usd + self.flash_usd

    @property
    def usd_per_step(self) -> float:
        """Both tiers."""
        return self.fast_usd_per_step + self.flash_usd_per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one policy costs on one model, machine and capacity."""

    model: str
    batch: int
    """Samples in one step."""
    machine: str
    budget_bytes: int
    """Fast memory of the comparison that this row belongs to."""
    fast_bytes: int
    """Capacity of the fast tier in this run: the budget; for all-fast what the step needs, in whole pages."""
    fast_fraction: float
    """fast_bytes / footprint_bytes."""
    footprint_bytes: int
    """Peak of the bytes alive at once in the captured step."""
    policy: str
    """Ours is "tmtrain"."""
    objective: str
    """What tmtrain's plan minimised, and what `bound` bounds: "energy", "time", "bytes" or "writes"."""
    step_time_s: float
    ideal_step_time_s: float
    """Compute alone, everything resident, nothing recomputed."""
    recompute_s: float
    """Recomputation, part of `step_time_s`."""
    stall_s: float
    bytes_in: int
    bytes_out: int
    traffic_bytes: int
    """bytes_in + bytes_out: inter-tier traffic of one step."""
    energy_j: float
    energy_by_component_j: dict[str, float]
    average_power_w: float
    peak_power_w: float
    """Of the most demanding moment of the step."""
    transfer_energy_share: float
    """Of `energy_j`: what moving bytes between the tiers takes."""
    samples_per_s: float
    samples_per_j: float
    """Throughput per watt."""
    bytes_written_per_step: float
    """Bytes programmed into flash: bytes_out times write amplification."""
    lifetime_years: float | None
    """Of the flash tier under uninterrupted training; null when nothing is written."""
    memory_cost_usd: float
    """Fast capacity plus flash for the whole footprint, at the machine's default price date (all-fast: no flash)."""
    costs: dict[str, Cost]
    """By price date, the default first."""
    bound: float
    """Certified lower bound of the objective for this model, machine and capacity, over all plans of the class."""
    gap: float | None
    """(what this policy needed of the objective, as measured by the engine - bound) / bound; negative only for all-fast,
    which has more memory; null where the bound is 0."""
    bounds: Bounds
    wall_clock: WallClock
    plan_origin: str = ""
    """Who proposed the plan that is followed: "programme", or the rival that it imitates; "" for rivals themselves."""
    prediction_error: float | None = None
    """(what the planner expected of the objective - what was measured) / what was measured; null for rivals."""
    measured_steps: int = 1
    """Steps whose mean this row is: more than one where they alternate, or never repeat."""
    run: str | None
    """Folder of this row's per-slice series, relative to ``results.json``; null if not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A policy that could not run where others did, or a capacity that is too small for all of them."""

    model: str
    batch: int
    machine: str
    objective: str
    budget_bytes: int
    policy: str
    """Empty: all of them."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The whole of ``results.json``."""

    schema: int
    rows: list[Row]
    refusals: list[Refusal]
