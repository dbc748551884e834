"""The ground floor: each module is usable alone, from a notebook, and knows nothing of Dagster."""
