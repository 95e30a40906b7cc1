"""One file for each command: parse, call the library, print."""
