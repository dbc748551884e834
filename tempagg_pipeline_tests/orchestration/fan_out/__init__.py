"""Files from the queue to hourly objects and history: the sensor, the op, and both under a real daemon."""
