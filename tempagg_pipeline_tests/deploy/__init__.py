"""Proves what is in deploy/ as far as it goes without a cloud account."""
