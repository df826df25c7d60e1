"""Prefect tasks: thin, one file per stage."""
