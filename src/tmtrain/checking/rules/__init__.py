"""Whether a plan keeps the rules: residency, content, traffic."""
