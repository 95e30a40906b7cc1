"""Checkpoints written and read within the budget."""
