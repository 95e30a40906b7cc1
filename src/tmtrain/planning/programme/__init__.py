"""The linear programme: its columns and rows, its solution, what it proves, and the way to whole pages."""
