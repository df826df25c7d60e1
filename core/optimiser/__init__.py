"""Finds cheap assignments of SIMs to rate plans (O1-O12)."""
