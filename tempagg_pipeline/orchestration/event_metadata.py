"""What the UI shows of each materialization: figures, a chart, a preview, where the object is."""

from collections.abc import Mapping

import dagster as dg
import numpy as np

from tempagg_pipeline.core.chart import chart_markdown
from tempagg_pipeline.core.hourly import HourlyTable
from tempagg_pipeline.core.locations import hourly_name, raw_name
from tempagg_pipeline.core.object_store import ObjectStore
from tempagg_pipeline.core.processing import Processed, Recorded
from tempagg_pipeline.orchestration.asset_keys import RAW

Metadata = Mapping[str, dg.MetadataValue]

SOURCE_ETAG, HOURLY_ETAG = "source_etag", "etag"
_PREVIEW_HOURS = 5

RAW_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("Datetime", "timestamp", "Minute of the reading, as the station wrote it: YYYY-MM-DD HH:MM:SS."),
        dg.TableColumn("Temperature", "double", "Air temperature in °C; blank where the reading is missing."),
    ]
)
HOURLY_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("Datetime", "timestamp", "Start of the hour."),
        dg.TableColumn("mean", "double", "Mean of the hour's readings in °C; blank without any."),
        dg.TableColumn("std", "double", "Sample standard deviation (n - 1) in °C; blank below two readings."),
        dg.TableColumn("min", "double", "Lowest reading in °C."),
        dg.TableColumn("max", "double", "Highest reading in °C."),
        dg.TableColumn("count", "bigint", "Readings in the hour."),
    ]
)


def _column_lineage() -> dg.TableColumnLineage:
    time, temperature = dg.TableColumnDep(RAW, "Datetime"), dg.TableColumnDep(RAW, "Temperature")
    statistics = {name: [time, temperature] for name in ("mean", "std", "min", "max", "count")}
    return dg.TableColumnLineage({"Datetime": [time], **statistics})


HOURLY_LINEAGE = _column_lineage()


def raw_metadata(processed: Processed, store: ObjectStore) -> Metadata:
    """Figures of a raw object: rows, first and last timestamp, gaps, duplicates, size, versions."""
    profile = processed.aggregation.profile
    return {
        "dagster/row_count": dg.MetadataValue.int(profile.rows),
        "dagster/uri": dg.MetadataValue.url(store.url_of(raw_name(processed.location))),
        "first": dg.MetadataValue.text(str(profile.first)),
        "last": dg.MetadataValue.text(str(profile.last)),
        "readings": dg.MetadataValue.int(profile.readings),
        "missing_minutes": dg.MetadataValue.int(profile.missing_minutes),
        "duplicates": dg.MetadataValue.int(profile.duplicates),
        "unreadable_rows": dg.MetadataValue.int(profile.bad_rows),
        "bytes": dg.MetadataValue.int(profile.bytes),
        "etag": dg.MetadataValue.text(processed.raw.etag),
        "sha256": dg.MetadataValue.text(profile.sha256),
    }


def hourly_metadata(processed: Processed, store: ObjectStore) -> Metadata:
    """Figures of an hourly object, its chart and first rows, and which version of the raw object it was made from."""
    table, profile = processed.aggregation.table, processed.aggregation.profile
    etag = processed.hourly.etag if processed.hourly else ""
    return {
        "dagster/row_count": dg.MetadataValue.int(len(table)),
        "dagster/uri": dg.MetadataValue.url(store.url_of(hourly_name(processed.location))),
        "dagster/column_lineage": dg.MetadataValue.column_lineage(HOURLY_LINEAGE),
        "chart": dg.MetadataValue.md(chart_markdown(table)),
        "preview": dg.MetadataValue.table(_preview(table), schema=HOURLY_SCHEMA),
        "hours": dg.MetadataValue.int(len(table)),
        "hours_without_data": dg.MetadataValue.int(int(np.count_nonzero(table.count == 0))),
        "readings": dg.MetadataValue.int(profile.readings),
        "missing_minutes": dg.MetadataValue.int(profile.missing_minutes),
        "coverage": dg.MetadataValue.float(round(profile.coverage, 6)),
        **_extremes(table),
        "seconds": dg.MetadataValue.float(round(processed.seconds, 4)),
        "rows_per_second": dg.MetadataValue.int(round(profile.rows / max(processed.seconds, 1e-9))),
        HOURLY_ETAG: dg.MetadataValue.text(etag),
        SOURCE_ETAG: dg.MetadataValue.text(processed.source_etag),
    }


def recorded_versions(metadata: Metadata) -> Recorded | None:
    """Read back which versions a materialization of the hourly asset read and wrote."""
    source, hourly = metadata.get(SOURCE_ETAG), metadata.get(HOURLY_ETAG)
    if source is None or hourly is None:
        return None
    return Recorded(str(source.value), str(hourly.value))


def _extremes(table: HourlyTable) -> Metadata:
    if not (table.count > 0).any():
        return {}
    mean = float(np.nansum(table.mean * table.count) / table.count.sum())
    return {
        "mean_celsius": dg.MetadataValue.float(round(mean, 4)),
        "min_celsius": dg.MetadataValue.float(float(np.nanmin(table.min))),
        "max_celsius": dg.MetadataValue.float(float(np.nanmax(table.max))),
    }


def _preview(table: HourlyTable) -> list[dg.TableRecord]:
    def shown(value: float) -> float | str:
        return round(float(value), 4) if value == value else ""

    return [
        dg.TableRecord(
            {
                "Datetime": str(table.hours[row]).replace("T", " ") + ":00:00",
                "mean": shown(table.mean[row]),
                "std": shown(table.std[row]),
                "min": shown(table.min[row]),
                "max": shown(table.max[row]),
                "count": int(table.count[row]),
            }
        )
        for row in range(min(_PREVIEW_HOURS, len(table)))
    ]
