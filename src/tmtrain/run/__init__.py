"""run: real training inside a memory budget, the rest on a flash file."""
