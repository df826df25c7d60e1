"""The command line, the only room above the flows."""
