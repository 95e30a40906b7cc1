"""Each number of a machine with unit, range and source: files in, a checked Machine out. Runs no model of its parts."""
