"""Execution traces of PyTorch and Chakra: files to operators to a Trace. Knows torch's schemas, imports no torch."""
