"""cli: the command line. Thin: each command parses, makes one library call and prints."""
