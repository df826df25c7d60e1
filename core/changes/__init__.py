"""Changes of rate plans at the carrier: from what a session recommends to what is done (P1 to P3)."""
