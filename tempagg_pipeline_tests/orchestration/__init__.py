"""Tests of Dagster's building blocks, against real instances."""
