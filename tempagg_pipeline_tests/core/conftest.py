"""How property-based tests run: no example has to be quick, since no test asserts wall-clock time."""

from hypothesis import HealthCheck, settings

settings.register_profile("core", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")
