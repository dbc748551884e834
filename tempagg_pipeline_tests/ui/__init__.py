"""Tests of the UI in a real browser."""
