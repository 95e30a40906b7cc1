"""What is asked of a plan: the gaps of a step, what each costs, and what limits it."""
