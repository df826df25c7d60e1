"""Reads and validates what users bring as CSV, Parquet or xlsx."""
