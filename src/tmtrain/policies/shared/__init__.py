"""What several policies use.

Invariant: nothing here is a policy, and nothing here knows one. What a single policy uses stands in that policy's file.
"""
