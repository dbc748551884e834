"""Stores a step's events many at a time: in a few transactions a batch, where Dagster uses several an event.

Dagster stores events one by one, each with connections and commits of its own: with two materializations and six
check results a location that costs far more than the work itself. Dagster's own batching covers a batch of nothing
but materializations, on PostgreSQL. The rows written here are the same, as the tests compare.

Any storage that is not one of Dagster's SQL storages gets its events one by one, by public API.
"""

import logging
import time
from collections.abc import Sequence

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


class EventWriter:
    """Stores the events of one step of a run."""

    def __init__(self, context: dg.OpExecutionContext | dg.AssetExecutionContext) -> None:
        self.instance = context.instance
        self.run_id = context.run.run_id
        self._step = context.get_step_execution_context()
        self._storage = self.instance.event_log_storage

    def store(self, events: Sequence[Event]) -> Sequence[int]:
        """Store events in order; returns the storage id of each, by which later events may refer to it.

        All events of a call are stored in one transaction, where the database has such.
        """
        if not events:
            return []
        # Brings SQLAlchemy, which what only loads the definitions can do without.
        from tempagg_pipeline.orchestration.event_rows import insert_events, is_sql

        entries = [self._entry(event) for event in events]
        if is_sql(self._storage):
            return insert_events(self._storage, self.run_id, entries)
        for entry in entries:
            self.instance.handle_new_event(entry)
        return []

    def _entry(self, event: Event) -> EventLogEntry:
        if isinstance(event, dg.AssetMaterialization):
            kind, data = DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
            message = f"Materialized {event.label} of {event.partition}"
        else:
            kind, data = DagsterEventType.ASSET_CHECK_EVALUATION, event
            outcome = "passed" if event.passed else "failed"
            message = f"Check {event.check_name} of {event.partition} {outcome}: {event.description}"
        step = self._step.step
        return EventLogEntry(
            error_info=None,
            level=logging.DEBUG,
            user_message="",
            run_id=self.run_id,
            timestamp=time.time(),
            step_key=step.key,
            job_name=self._step.job_name,
            dagster_event=DagsterEvent(
                event_type_value=kind.value,
                job_name=self._step.job_name,
                step_handle=step.handle,
                node_handle=step.node_handle,
                step_kind_value=step.kind.value,
                event_specific_data=data,
                message=message,
                step_key=step.key,
            ),
        )
