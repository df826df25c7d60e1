"""Migrations, oldest first; each is one transaction with the record of itself."""
