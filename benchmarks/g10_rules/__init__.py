"""The G10 artifact's own simulators, implemented again by the rules in benchmarks/g10/README.md.

Our engine obeys other laws (capacity enforced, latencies charged, LRU by use) and is not bent to these. What is here shows
that the imported workload is the artifact's: fed with it, the artifact's rules give the artifact's results.
"""
