"""The least that any schedule of a tiny step needs, with latencies, by search over all of them: no planner, no engine."""
