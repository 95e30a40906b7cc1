"""Under every operator of the step: what it touches is there before it runs."""
