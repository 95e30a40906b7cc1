"""What may be recomputed, when, and from what; and which of it a plan chooses."""
