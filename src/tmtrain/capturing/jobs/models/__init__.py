"""Entries of the zoo, as data: what people train in 2026."""
