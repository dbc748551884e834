"""The middle floor: Dagster's building blocks, thin callers of ``tempagg_pipeline.core``."""
