"""Memory and drive: which blocks are where, under one budget. Knows no torch."""
