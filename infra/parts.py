"""Fetch, verify and unpack everything that is not Python: Kafka's jars, the schema registry, the web components.

`parts.lock.toml` names each file and its sha256. A file is kept in a cache that every clone on the machine shares
(`$XDG_CACHE_HOME/sightline` or `~/.cache/sightline`), under its hash, and unpacked into the state folder.
SIGHTLINE_MAVEN names a mirror of the Maven repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from jgo.maven import MavenContext, PythonResolver

from infra.errors import ChecksumError, PartsError
from infra.state import State

LOCK: Final = Path(__file__).with_name("parts.lock.toml")

TRIES: Final = 4
"""Downloads of one file before giving up; waits of 1, 2 and 4 s lie between."""

PARALLEL: Final = 6
TIMEOUT_S: Final = 60
WEBJAR_ROOT: Final = "META-INF/resources/webjars/"

Advance = Callable[[int, int], None]
"""Progress: called with (bytes done, bytes expected so far)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One locked file. `use`: kafka, registry or static; `name`: the folder of a web component."""

    use: str
    name: str
    group: str
    artifact: str
    version: str
    packaging: str
    classifier: str
    sha256: str

    @property
    def filename(self) -> str:
        """The file's name in a Maven repository."""
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{tail}.{self.packaging}"


def locked(lock: Path = LOCK) -> tuple[Part, ...]:
    """The parts the lock file names."""
    return tuple(_part(row) for row in tomllib.loads(lock.read_text())["part"])


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where downloads are kept for every clone on this machine."""
    base = env.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sightline" / "parts"


def install(state: State, parts: Sequence[Part] | None = None, *, advance: Advance | None = None) -> float:
    """Put every part in its place under the state folder; a second call finds them there.

    Returns the seconds spent. Raises: PartsError (no network, no space), ChecksumError.
    """
    begun = time.monotonic()
    wanted = locked() if parts is None else tuple(parts)
    todo = [group for group in _groups(state, wanted) if not group.installed()]
    cache = Cache(cache_folder())
    files = cache.fetch([part for group in todo for part in group.parts], advance or (lambda done, expected: None))
    for group in todo:
        group.install([files[part.sha256] for part in group.parts])
    return time.monotonic() - begun


@dataclass(frozen=True, slots=True)
class Cache:
    """Downloaded files by hash."""

    folder: Path

    def fetch(self, parts: Sequence[Part], advance: Advance) -> dict[str, Path]:
        """The files of all parts by sha256, downloaded when absent. Raises: PartsError, ChecksumError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PartsError(
                f"cannot write the download cache {self.folder}: {error.strerror}; set XDG_CACHE_HOME to another folder"
            ) from error
        meter = _Meter(advance)
        with ThreadPoolExecutor(PARALLEL) as pool:
            return dict(zip((p.sha256 for p in parts), pool.map(lambda p: self._one(p, meter), parts), strict=True))

    def _one(self, part: Part, meter: _Meter) -> Path:
        kept = self.folder / part.sha256[:16] / part.filename
        if kept.exists():
            if _sha256(kept) == part.sha256:
                return kept
            kept.unlink()  # damaged on disk: fetch it again
        for attempt in range(TRIES):
            try:
                return self._download(part, kept, meter)
            except (requests.RequestException, RuntimeError, OSError) as error:
                if attempt == TRIES - 1:
                    raise PartsError(_unfetched(part, error)) from error
                time.sleep(2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _download(self, part: Part, kept: Path, meter: _Meter) -> Path:
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".fetch-") as draft:
            mirror = os.environ.get("SIGHTLINE_MAVEN")
            context = MavenContext(
                resolver=PythonResolver(progress_callback=meter.watch),
                repo_cache=Path(draft),
                local_repos=[],
                remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
                timeout=TIMEOUT_S,
            )
            component = context.project(part.group, part.artifact).at_version(part.version)
            fetched = component.artifact(classifier=part.classifier, packaging=part.packaging).resolve()
            found = _sha256(fetched)
            if found != part.sha256:
                raise ChecksumError(
                    f"{part.filename}: sha256 is {found[:12]}…, the lock names {part.sha256[:12]}…; "
                    "do not use it: check the mirror (SIGHTLINE_MAVEN) and infra/parts.lock.toml"
                )
            kept.parent.mkdir(exist_ok=True)
            fetched.replace(kept)
        return kept


class _Meter:
    """Adds up the progress of parallel downloads (int additions under the GIL; a display, not an account)."""

    def __init__(self, advance: Advance) -> None:
        self.done = 0
        self.expected = 0
        self.advance = advance

    @contextmanager
    def watch(self, filename: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        del filename
        self.expected += total_bytes

        def more(count: int) -> None:
            self.done += count
            self.advance(self.done, self.expected)

        yield more


@dataclass(frozen=True, slots=True)
class _Group:
    """Parts that are laid into one folder together; its marker holds their hashes."""

    folder: Path
    parts: tuple[Part, ...]

    @property
    def stamp(self) -> str:
        return hashlib.sha256("".join(p.sha256 for p in self.parts).encode()).hexdigest()

    def installed(self) -> bool:
        marker = self.folder / ".sightline"
        return marker.exists() and marker.read_text() == self.stamp

    def install(self, files: Sequence[Path]) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f".{self.folder.name}-"))
        draft.chmod(0o755)
        try:
            for part, file in zip(self.parts, files, strict=True):
                _lay(part, file, draft)
            (draft / ".sightline").write_text(self.stamp)
            shutil.rmtree(self.folder, ignore_errors=True)
            draft.rename(self.folder)
        except OSError as error:
            if self.installed():  # another process was quicker
                return
            raise PartsError(f"cannot unpack into {self.folder}: {error.strerror or error}; free some space") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _groups(state: State, parts: Sequence[Part]) -> list[_Group]:
    found: dict[Path, list[Part]] = {}
    for part in parts:
        folder = state.static / part.name if part.use == "static" else state.parts / part.use
        found.setdefault(folder, []).append(part)
    return [_Group(folder, tuple(members)) for folder, members in found.items()]


def _lay(part: Part, file: Path, folder: Path) -> None:
    if part.use == "kafka":
        shutil.copyfile(file, folder / part.filename)
    elif part.packaging == "tar.gz":
        with tarfile.open(file) as archive:
            # the hash vouches for the content; the filter (absent before 3.11.4) is a second lock
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)  # noqa: S202
    else:
        _unpack_webjar(file, folder)


def _unpack_webjar(jar: Path, folder: Path) -> None:
    """Lay what is under `META-INF/resources/webjars/<name>/<version>/` into the folder."""
    with zipfile.ZipFile(jar) as archive:
        for entry in archive.infolist():
            path = entry.filename.removeprefix(WEBJAR_ROOT)
            if path == entry.filename or entry.is_dir() or path.count("/") < 2:
                continue
            target = (folder / path.split("/", 2)[2]).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise PartsError(f"{jar.name} holds a path outside itself ({entry.filename}); do not use it")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(entry))


def _part(row: dict[str, Any]) -> Part:
    group, artifact, version = row["coordinates"].split(":")
    return Part(
        row["for"], row.get("name", ""), group, artifact, version, row.get("packaging", "jar"), row.get("classifier", ""),
        row["sha256"],
    )  # fmt: skip


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unfetched(part: Part, error: Exception) -> str:
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        why = "no connection to the Maven repository"
    else:
        why = f"{type(error).__name__}"
    return (
        f"cannot fetch {part.group}:{part.artifact}:{part.version} ({why}); check the network or set SIGHTLINE_MAVEN "
        "to a mirror, then run the same command again: what was fetched is kept"
    )
