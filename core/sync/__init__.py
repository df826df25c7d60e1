"""Brings devices and usage from the carrier into the device tables (C4-C7)."""
