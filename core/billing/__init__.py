"""Billing arithmetic on exact integers (B1-B10)."""
