"""One file for each figure, and what they are drawn with."""
