"""A carrier to try things with: a fleet and its Control Center API over HTTP."""
