"""Things that take minutes to make, kept outside the checkout and keyed by what goes into them."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """Where they are kept; safe to delete."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(root) / "tempagg-tests"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory ``<kind>-<key>``, made on first use; those of other keys of the kind are deleted then.

    Args:
        kind: what it is.
        key: version, or digest of what goes in.
        make: fills an empty directory. When it fails, nothing is kept.
    """
    root = cache_directory()
    target = root / f"{kind}-{key}"
    with locked(kind):
        if not target.exists():
            unfinished = root / f"unfinished-{kind}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            for old in root.glob(f"{kind}-*"):
                shutil.rmtree(old, ignore_errors=True)
            unfinished.rename(target)
    return target


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time."""
    with (cache_directory() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*parts: str | Path) -> str:
    """Short digest of texts, and of the names and contents of files and of all files below directories."""
    sum_ = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            sum_.update(f"\0{part}\0".encode())
            continue
        for file in sorted(file for file in [part, *part.rglob("*")] if file.is_file() and file.suffix != ".pyc"):
            sum_.update(f"\0{file.relative_to(part.parent)}\0".encode())
            sum_.update(file.read_bytes())
    return sum_.hexdigest()[:16]
