"""One file for each figure, and what they are drawn with. Results in, SVG text out; touches no display and no file."""
