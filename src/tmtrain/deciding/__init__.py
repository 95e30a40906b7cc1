"""What a policy is: it looks at a step and returns a Decision, which the engine carries out."""

from tmtrain.deciding.policy import Decision, FastMemory, Knowledge, Pager, Policy, Prefetcher

__all__ = ["Decision", "FastMemory", "Knowledge", "Pager", "Policy", "Prefetcher"]
