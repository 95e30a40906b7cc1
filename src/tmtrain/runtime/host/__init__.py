"""This computer: its drive, its rates, its counters."""
