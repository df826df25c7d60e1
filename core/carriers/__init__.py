"""Clients of the carriers' APIs (C1-C3)."""
