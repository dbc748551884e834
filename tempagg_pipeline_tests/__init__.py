"""Tests, one folder a floor of the package; real servers stand in ``servers``."""
