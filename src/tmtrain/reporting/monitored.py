"""What the timing monitor was worth, in words."""

from tmtrain.evaluation.monitored import MonitoredRun
from tmtrain.planning.problem.objective import NAMES

_OBJECTIVES = {"energy": "energy", "bytes": "bytes moved", "writes": "bytes written"}


def monitor_verdict(run: MonitoredRun) -> str:
    """Say in one sentence what the monitor gained or cost, with the number, or that it is worth nothing; "" without one.

    >>> from tmtrain.reporting.example import example_monitored
    >>> monitor_verdict(example_monitored())
    'The timing monitor saves +10.00 % of the step time and +8.00 % of the energy.'
    """
    if run.time_gain is None or run.value_gain is None:
        return ""
    amounts = f"{signed_percent(run.time_gain)} of the step time"
    if run.objective != "time":
        amounts += f" and {signed_percent(run.value_gain)} of the {_aim(run.objective)}"
    if run.is_worth_nothing:
        return f"The timing monitor is worth nothing here: it saves {amounts}."
    if min(run.time_gain, run.value_gain) < 0:
        return f"The timing monitor is not worth it here: it saves {amounts}."
    return f"The timing monitor saves {amounts}."


def signed_percent(share: float) -> str:
    """Print a share as a percentage with its sign and two digits.

    >>> signed_percent(0.0123), signed_percent(-0.5), signed_percent(-1e-9)
    ('+1.23 %', '−50.00 %', '±0.00 %')
    """
    text = f"{abs(100 * share):.2f}"
    sign = "±" if float(text) == 0 else "−" if share < 0 else "+"
    return f"{sign}{text} %"


def disturbances_in_words(run: MonitoredRun) -> str:
    """Say what disturbs the steps of `run`.

    >>> from tmtrain.reporting.example import example_monitored
    >>> disturbances_in_words(example_monitored())
    '12 steps, jitter of 5 % on every operator, flash x 0.5 in steps 4 to 7'
    """
    words = [f"{len(run.contenders[0].steps)} steps"]
    if run.jitter:
        words.append(f"jitter of {100 * run.jitter:.3g} % on every operator")
    for strike in run.strikes:
        first, last = strike.first_step, strike.last_step
        words.append(f"{strike.label} in step{f' {first}' if first == last else f's {first} to {last}'}")
    return ", ".join(words)


def _aim(objective: str) -> str:
    return _OBJECTIVES.get(objective, objective) if objective in NAMES else f"objective ({objective})"
