"""A training in a budget: what was asked for, what stands while it is entered, how its steps run and are planned."""
