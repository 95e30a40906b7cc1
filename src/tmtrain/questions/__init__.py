"""What people ask of plans: why this one, what else there is, how little memory is enough."""
