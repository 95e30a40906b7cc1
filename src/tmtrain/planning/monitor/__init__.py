"""Many steps: what is measured changes the plan."""
