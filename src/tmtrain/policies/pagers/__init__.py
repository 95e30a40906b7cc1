"""Published ways to manage memory while the step runs: on demand, or a little ahead of it."""
