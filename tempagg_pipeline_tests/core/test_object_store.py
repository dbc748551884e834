"""One suite for both backends: a local directory, and a container in a real Azurite."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tempagg_pipeline.core.inventory import take_inventory
from tempagg_pipeline.core.object_store import ObjectNotFoundError, ObjectStore, open_store
from tempagg_pipeline.core.settings import load_settings
from tempagg_pipeline_tests.core.stores import new_container

MEBIBYTE = 1024 * 1024
NAME = "temperature1.csv"


@pytest.fixture(params=["directory", "azurite"])
def store_env(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """Environment of a new, empty store."""
    if request.param == "directory":
        return {"TEMPAGG_STORE": "local", "TEMPAGG_LOCAL_ROOT": str(tmp_path)}
    server = request.getfixturevalue("azurite_server")
    return {**server.env, "TEMPAGG_CONTAINER": new_container(server)}


@pytest.fixture
def store(store_env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in store_env.items():
        monkeypatch.setenv(name, value)
    return open_store(load_settings().store)


def _repeated(letter: bytes, mebibytes: int) -> Iterator[bytes]:
    return (letter * MEBIBYTE for _ in range(mebibytes))


def _names(store: ObjectStore) -> list[str]:
    return sorted(info.name for info in store.list())


# --- one writer, one reader


def test_an_object_reads_back_as_it_was_written(store: ObjectStore):
    store.replace(NAME, [b"Datetime,", b"Temp", b"", b"erature\n"])
    assert store.read(NAME) == b"Datetime,Temperature\n"


def test_an_empty_object_can_be_written(store: ObjectStore):
    assert store.replace(NAME, []).size == 0
    assert store.read(NAME) == b""


def test_writing_heading_opening_and_listing_tell_the_same_version(store: ObjectStore):
    written = store.replace(NAME, [b"abc"])
    head = store.head(NAME)
    opened = store.open(NAME)
    (listed,) = store.list()
    assert opened is not None
    assert head == opened.info == listed
    assert (head.name, head.size, head.etag) == (written.name, written.size, written.etag) == (NAME, 3, written.etag)
    assert head.etag.startswith('"')
    assert head.modified is not None


def test_every_write_has_a_new_etag_even_of_the_same_content(store: ObjectStore):
    assert len({store.replace(NAME, [b"same"]).etag for _ in range(5)}) == 5


def test_opening_is_declined_while_the_etag_is_the_known_one(store: ObjectStore):
    first = store.replace(NAME, [b"one"])
    assert store.open(NAME, unless_etag=first.etag) is None
    second = store.replace(NAME, [b"two"])
    opened = store.open(NAME, unless_etag=first.etag)
    assert opened is not None
    assert (opened.info.etag, b"".join(opened.chunks)) == (second.etag, b"two")


def test_an_etag_from_a_listing_serves_as_a_condition(store: ObjectStore):
    store.replace(NAME, [b"one"])
    (listed,) = store.list()
    assert store.open(NAME, unless_etag=listed.etag) is None


@pytest.mark.parametrize("look", [ObjectStore.head, ObjectStore.open, ObjectStore.read])
def test_an_object_that_is_not_there_is_named(store: ObjectStore, look: Callable[[ObjectStore, str], object]):
    with pytest.raises(ObjectNotFoundError) as caught:
        look(store, "nowhere.csv")
    assert str(caught.value) == f"nowhere.csv: there is no such object in {store.url}"


def test_finding_what_is_not_there_gives_none(store: ObjectStore):
    assert store.find("nowhere.csv") is None


def test_opening_what_was_deleted_is_not_unchanged(store: ObjectStore):
    with pytest.raises(ObjectNotFoundError):
        store.open("nowhere.csv", unless_etag='"0x1"')


def test_an_empty_store_lists_nothing(store: ObjectStore):
    assert list(store.list()) == []


def test_folders_are_left_out_of_the_listing(store: ObjectStore):
    store.replace("other_asset/a.csv", [b"x"])
    store.replace(NAME, [b"x"])
    assert _names(store) == [NAME]


@pytest.mark.parametrize("name", ["a b.csv", "Zürich.csv", "a+b=(c)~@.csv", "a..b.csv", "x" * 200 + "_aggregated.csv"])
def test_every_name_that_a_location_can_have_is_kept(store: ObjectStore, name: str):
    store.replace(name, [name.encode()])
    assert store.read(name) == name.encode()
    assert _names(store) == [name]


def test_a_url_is_fit_for_a_link(store: ObjectStore):
    assert store.url_of("a b.csv") == f"{store.url}/a%20b.csv"


@pytest.mark.parametrize("size", [4 * MEBIBYTE - 1, 4 * MEBIBYTE, 4 * MEBIBYTE + 1, 9_999_999])
def test_objects_about_the_limits_of_one_request_are_whole(store: ObjectStore, size: int):
    content = os.urandom(size)
    written = store.replace(NAME, (content[start : start + 999_999] for start in range(0, size, 999_999)))
    assert (written.size, store.head(NAME).etag) == (size, written.etag)
    assert store.read(NAME) == content


def test_a_large_object_goes_through_in_small_pieces(store: ObjectStore):
    digest, read = hashlib.sha256(), hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for _ in range(70):
            piece = os.urandom(MEBIBYTE)
            digest.update(piece)
            yield piece

    written = store.replace(NAME, pieces())
    opened = store.open(NAME)
    assert opened is not None
    largest = 0
    for chunk in opened.chunks:
        largest = max(largest, len(chunk))
        read.update(chunk)
    assert (written.size, written.etag) == (70 * MEBIBYTE, opened.info.etag)
    assert read.digest() == digest.digest()
    assert largest < 8 * MEBIBYTE


# --- a write that fails


@pytest.mark.parametrize("mebibytes", [1, 10, 70])
def test_a_write_whose_pieces_fail_leaves_the_old_object(store: ObjectStore, mebibytes: int):
    old = store.replace(NAME, [b"old"])

    def pieces() -> Iterator[bytes]:
        yield from _repeated(b"n", mebibytes)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        store.replace(NAME, pieces())
    assert store.read(NAME) == b"old"
    assert [info.etag for info in store.list()] == [old.etag]


_KILLED_WRITER = """
import sys, time
from tempagg_pipeline.core.object_store import open_store
from tempagg_pipeline.core.settings import load_settings

def pieces():
    for _ in range(80):
        yield b"n" * 1024 * 1024
    print("in the middle", flush=True)
    time.sleep(600)

open_store(load_settings().store).replace(sys.argv[1], pieces())
"""


@pytest.mark.parametrize("before", [[b"old"], None])
def test_a_writer_killed_in_mid_write_leaves_nothing_taken_for_data(
    store: ObjectStore, store_env: Mapping[str, str], before: list[bytes] | None
):
    if before is not None:
        store.replace(NAME, before)
    with _python(_KILLED_WRITER, store_env, NAME) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"in the middle\n"
        writer.kill()
    assert _names(store) == ([NAME] if before else [])
    assert set(take_inventory(store).raw) == ({"temperature1"} if before else set())
    if before:
        assert store.read(NAME) == b"old"
    store.replace(NAME, [b"new"])
    assert store.read(NAME) == b"new"


# --- several at a time

_WRITER = """
import sys
from tempagg_pipeline.core.object_store import open_store
from tempagg_pipeline.core.settings import load_settings

store = open_store(load_settings().store)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    store.replace("temperature1.csv", (sys.argv[1].encode() * 1024 * 1024 for _ in range(int(sys.argv[2]))))
"""


@pytest.mark.parametrize("mebibytes", [1, 8])
def test_two_writers_at_a_time_end_in_one_whole_object(
    store: ObjectStore, store_env: Mapping[str, str], mebibytes: int
):
    whole = [letter * mebibytes * MEBIBYTE for letter in (b"a", b"b")]
    with (
        _python(_WRITER, store_env, "a", str(mebibytes), "4") as first,
        _python(_WRITER, store_env, "b", str(mebibytes), "4") as second,
    ):
        _start_together(first, second)
        while first.poll() is None or second.poll() is None:
            found = store.find(NAME)
            assert found is None or store.read(NAME) in whole
    assert (first.returncode, second.returncode) == (0, 0)
    assert store.read(NAME) in whole
    assert _names(store) == [NAME]


def test_readers_see_the_old_or_the_new_object(store: ObjectStore, store_env: Mapping[str, str]):
    whole = [letter * 6 * MEBIBYTE for letter in (b"a", b"b")]
    store.replace(NAME, [whole[1]])
    with _python(_WRITER, store_env, "a", "6", "8") as writer:
        _start_together(writer)
        while writer.poll() is None:
            opened = store.open(NAME)
            assert opened is not None
            content = b"".join(opened.chunks)
            assert content in whole
            assert len(content) == opened.info.size
    assert writer.returncode == 0
    assert store.read(NAME) == whole[0]


def test_an_open_object_is_read_to_its_end_although_it_is_replaced(store: ObjectStore):
    store.replace(NAME, _repeated(b"a", 8))
    opened = store.open(NAME)
    assert opened is not None
    store.replace(NAME, [b"new"])
    assert b"".join(opened.chunks) == b"a" * 8 * MEBIBYTE


def _python(script: str, env: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _start_together(*writers: subprocess.Popen[bytes]) -> None:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
