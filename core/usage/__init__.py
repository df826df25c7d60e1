"""What SIMs used, cycle by cycle: metrics of their history (U1)."""
