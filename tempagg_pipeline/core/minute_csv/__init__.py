"""Reads raw CSV objects of 1-minute temperatures as a stream of blocks of readings.

``reader`` cuts the bytes into blocks of whole lines and sends each down one of two lanes: ``canonical`` decodes the
usual form (``YYYY-MM-DD HH:MM:SS,12.34``) a block at a time with numpy and declines anything else; ``careful`` reads
what was declined row by row with the standard library's csv module, and is the one place that judges and words errors.
"""

from tempagg_pipeline.core.minute_csv.reader import MinuteCsvReader
from tempagg_pipeline.core.minute_csv.readings import BadRow, Readings

__all__ = ["BadRow", "MinuteCsvReader", "Readings"]
