"""CSV objects as Dagster values: what downstream assets load, and how assets of your own store theirs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

import dagster as dg

from tempagg_pipeline.core.locations import hourly_name, raw_name
from tempagg_pipeline.core.object_store import ObjectStore
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.resources import TemperatureStore

if TYPE_CHECKING:
    import pandas as pd


def object_name(key: dg.AssetKey, partition: str | None) -> str:
    """Name of the object that holds an asset's partition.

    Raw and hourly temperatures have the names their producers and consumers know; any other asset gets a folder of its
    own, where it can't be taken for a raw object.
    """
    if partition is not None and key == RAW:
        return raw_name(partition)
    if partition is not None and key == HOURLY:
        return hourly_name(partition)
    return "/".join([*key.path, f"{partition or key.path[-1]}.csv"])


class CsvBlobIOManager(dg.ConfigurableIOManager):
    """Stores and loads assets as CSV objects in the container.

    Stores bytes, text, an iterable of bytes or a pandas ``DataFrame``; of a run over several partitions a mapping from
    partition key to such a value. Loads what the input's annotation asks for: ``bytes``, ``str`` or ``DataFrame`` for
    one partition, ``dict[str, …]`` of them for several.
    """

    temperature_store: dg.ResourceDependency[TemperatureStore]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace the object of each partition atomically; partitions missing from a mapping stay as they are.

        Raises:
            TypeError: the value is nothing that can be stored as CSV, or one value came for several partitions.
        """
        if not context.has_asset_partitions:
            self._store(context, object_name(context.asset_key, None), obj, partition=None)
            return
        keys = list(context.asset_partition_keys)
        values = obj if isinstance(obj, Mapping) else dict.fromkeys(keys, obj)
        if not isinstance(obj, Mapping) and len(keys) != 1:
            raise TypeError(f"expected a mapping by partition for {len(keys)} partitions, found {type(obj).__name__}")
        if unknown := values.keys() - set(keys):
            raise TypeError(f"expected values for partitions of this run only, found {sorted(unknown)}")
        for partition, value in values.items():
            self._store(context, object_name(context.asset_key, partition), value, partition)

    def load_input(self, context: dg.InputContext) -> Any:
        """Load one partition as a value, or several as a dict of them, in the type the input is annotated with.

        Raises:
            ObjectNotFoundError: a partition has no object.
            TypeError: the annotation asks for a type that CSV is not loaded as.
        """
        wanted = context.dagster_type.typing_type
        if not context.has_asset_partitions:
            return self._load(object_name(context.asset_key, None), wanted)
        keys = list(context.asset_partition_keys)
        if get_origin(wanted) in (dict, Mapping):
            value_type = get_args(wanted)[1]
            return {key: self._load(object_name(context.asset_key, key), value_type) for key in keys}
        if len(keys) != 1:
            raise TypeError(f"expected an input annotated dict[str, …] for {len(keys)} partitions, found {wanted}")
        return self._load(object_name(context.asset_key, keys[0]), wanted)

    @property
    def _objects(self) -> ObjectStore:
        return self.temperature_store.processor.store

    def _store(self, context: dg.OutputContext, name: str, value: Any, partition: str | None) -> None:
        info = self._objects.replace(name, _pieces(value))
        metadata: dict[str, Any] = {"bytes": info.size, "etag": info.etag, "dagster/uri": self._objects.url_of(name)}
        rows = getattr(value, "shape", None)
        if rows is not None:
            metadata["dagster/row_count"] = rows[0]
        if partition is None or len(context.asset_partition_keys) == 1:
            context.add_output_metadata(metadata)
        else:
            context.step_context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=partition)

    def _load(self, name: str, wanted: Any) -> "bytes | str | pd.DataFrame":
        if wanted is bytes:
            return self._objects.read(name)
        if wanted is str:
            return self._objects.read(name).decode()
        if wanted is Any or getattr(wanted, "__name__", "") == "DataFrame":
            return self._load_frame(name)
        raise TypeError(f"expected an input annotated bytes, str or pandas.DataFrame, found {wanted}")

    def _load_frame(self, name: str) -> "pd.DataFrame":
        # pandas takes long to import: only those pay who ask for a frame.
        import io

        import pandas as pd

        frame = pd.read_csv(io.BytesIO(self._objects.read(name)))
        if "Datetime" in frame:
            frame["Datetime"] = pd.to_datetime(frame["Datetime"], format="%Y-%m-%d %H:%M:%S")
        return frame


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
    elif hasattr(value, "to_csv"):
        yield value.to_csv(index=False).encode()
    elif isinstance(value, Iterable):
        yield from value
    else:
        raise TypeError(f"expected bytes, text or a DataFrame to store as CSV, found {type(value).__name__}")
