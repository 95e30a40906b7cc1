"""Planners: they look at the whole step and decide before it runs.

Invariant: what moves when is fixed before the first slice, as a `tmtrain.plans.Plan` or as a schedule that a pager carries
out (`tmtrain.policies.shared.schedules`). While the step runs, Belady's rule makes room where the decision left none.
Nothing else is decided then.
"""
