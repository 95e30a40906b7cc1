"""What may be computed again, when, and from what; and which of it a plan chooses."""
