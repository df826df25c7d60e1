"""Windows, slots and the life of an optimisation session (S1-S3)."""
