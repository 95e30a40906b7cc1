"""Published planners: whole tensors, decided before the step runs."""
