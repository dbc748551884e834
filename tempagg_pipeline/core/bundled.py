"""The sample objects that come with the package: real station-days, and made-up stations with gaps."""

from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files

from tempagg_pipeline.core.locations import RAW_SUFFIX
from tempagg_pipeline.core.sample import SampleSpec, sample_csv

_MADE_UP = {
    "temperature1.csv": SampleSpec(seed=1, start=datetime(2024, 1, 1), days=7),
    "temperature2.csv": SampleSpec(seed=2, start=datetime(2024, 1, 1), days=7, gap_share=0.02),
    "temperature3.csv": SampleSpec(seed=3, start=datetime(2024, 2, 26), days=7, gap_share=0.05, outages=1),
    "temperature4.csv": SampleSpec(seed=4, start=datetime(2024, 3, 29, 18), days=3, outages=2),
    "temperature5.csv": SampleSpec(seed=5, start=datetime(2024, 7, 1, 6, 30), days=2),
    "temperature6.csv": SampleSpec(seed=6, start=datetime(2024, 12, 30), days=4, gap_share=0.01),
}
"""Each from its seed, so that nothing bulky is kept: over a leap day, a change of daylight saving, a new year."""


def bundled_samples() -> Iterator[tuple[str, bytes]]:
    """Name and content of each sample object, by name; ``data/README.md`` tells where the real ones are from."""
    for entry in sorted(files("tempagg_pipeline").joinpath("data").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(RAW_SUFFIX):
            yield entry.name, entry.read_bytes()
    for name, spec in _MADE_UP.items():
        yield name, b"".join(sample_csv(spec))
