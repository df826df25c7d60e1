"""Messages to the AMOP 2.0 portal (A1-A3)."""
