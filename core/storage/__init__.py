"""Tables, migrations and repositories (D1-D6)."""
