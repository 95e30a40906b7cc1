"""Pagers: they manage fast memory while the step runs.

Invariant: nothing is decided before the step runs. A pager chooses when a slice lacks something (and, if it prefetches,
between slices), from the accesses that it has been shown. Belady's alone knows the future. Its `Decision` has no plan and
no schedule.
"""
