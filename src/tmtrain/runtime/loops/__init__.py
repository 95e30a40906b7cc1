"""Training loops of others: steps that begin and end by callback."""
