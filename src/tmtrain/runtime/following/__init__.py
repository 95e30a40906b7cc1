"""The recorded step, the plan for it, and who carries it out."""
