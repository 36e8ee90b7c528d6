"""The ledger on disk: the records of topic `ledger` as they lie there, in checksummed segments; see `consumers/ledger_backup.py`.

A folder holds `manifest.json` and segments, each named after its first offset. A segment is its magic, then frames: length and
CRC-32 of a payload, and the payload (offset, timestamp, key, value, headers). The manifest names every segment with its offsets,
size and SHA-256, and carries a SHA-256 of its own. A segment is on disk before the manifest names it, and never changes after;
what a crash leaves behind is named by no manifest, and is overwritten. Entries lie here encrypted as they are in the topic.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from domain.problems import SightlineError
from domain.values import immutable

MAGIC: Final = b"SLEDGER\x01"
FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""A torn or lost segment costs at most this much; a hundred thousand entries of usual size fit."""

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
"""An entry is at most 1 MiB (design); a longer frame is damage."""

BLOCK_BYTES: Final = 256 * 1024
"""Read at a time: some 250 entries, which a processor's cache holds."""

_FRAME: Final = struct.Struct(">II")
_HEAD: Final = struct.Struct(">QqI")
_LENGTH: Final = struct.Struct(">i")
_frame_at: Final = _FRAME.unpack_from
_length_at: Final = _LENGTH.unpack_from


class ArchiveError(SightlineError):
    """An archive cannot be used as asked; the text says what to do."""


class ArchiveMissing(ArchiveError):
    """The folder holds no archive."""


class ArchiveDamaged(ArchiveError):
    """Bytes of the archive are missing or changed."""


class ArchiveBusy(ArchiveError):
    """Another backup is writing to this folder."""


@immutable
class Record:
    """One record of the topic. `timestamp_ms` is the broker's; a restore gets new ones."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def content(self) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
        """What a restored record has in common with its original: all but the broker's timestamp."""
        return self.key, self.value, self.headers


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as the manifest names it: offsets from `first` up to and without `end`."""

    file: str
    first: int
    end: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a verified archive holds."""

    segments: int
    records: int
    size: int


def record_of(polled: Any) -> Record:
    """A polled kafka-python record."""
    return Record(polled.offset, polled.timestamp, polled.key, polled.value, tuple((k, v) for k, v in polled.headers))


class Archive:
    """The archive of one ledger in one folder."""

    def __init__(self, folder: Path) -> None:
        """Raises: ArchiveMissing, ArchiveDamaged."""
        self.folder = folder
        self.segments = _read_manifest(folder)

    @classmethod
    def create(cls, folder: Path) -> Archive:
        """The archive in `folder`, made empty when there is none.

        Raises:
            ArchiveDamaged, ArchiveError.
        """
        if not (folder / MANIFEST).exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(p.suffix != ".draft" for p in folder.iterdir()):
                raise ArchiveError(f"{folder} is not empty and holds no archive: name an empty or a new folder")
            _write_manifest(folder, ())
        return cls(folder)

    @property
    def end(self) -> int:
        """One past the last offset."""
        return self.segments[-1].end if self.segments else 0

    def records(self, start: int = 0) -> Iterator[Record]:
        """Records from offset `start` on, in order, each checked; `consumers.ledger.read_record` takes them.

        Raises:
            ArchiveDamaged: at the first record that is missing or changed.
        """
        for segment in self.segments:
            if segment.first >= start:
                yield from self._read(segment)
            elif segment.end > start:
                yield from (r for r in self._read(segment) if r.offset >= start)

    def last(self) -> Record:
        """The last record, itself checked; the way to it is not, and costs next to nothing. Only where `end` is not 0.

        Raises:
            ArchiveDamaged: it is missing or changed.
        """
        segment = self.segments[-1]
        with _opened(self.folder, segment) as file:
            file.seek(len(MAGIC))
            for offset in range(segment.first, segment.end):
                head = file.read(_FRAME.size)
                if len(head) < _FRAME.size:
                    raise _damaged(segment, f"is torn after offset {offset - 1}")
                length, crc = _frame_at(head, 0)
                if offset < segment.end - 1:
                    file.seek(length, os.SEEK_CUR)
            return _checked(file.read(min(length, FRAME_BYTES_MAX)), length, crc, segment, segment.end - 1)

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> Summary:
        """Read and check every byte; `progress` is told of each record.

        Raises:
            ArchiveDamaged: names the segment.
        """
        count = 0
        for _ in self.records():
            count += 1
            progress(1)
        return Summary(len(self.segments), count, sum(s.size for s in self.segments))

    def append(self, records: Iterable[Record], segment_bytes_max: int = SEGMENT_BYTES_MAX) -> int:
        """Add records that follow on the last one here; what is complete is safe should the rest fail. Returns how many.

        Raises:
            ArchiveBusy, ArchiveError: an offset does not follow on the last.
        """
        with self._alone():
            self.segments = _read_manifest(self.folder)
            before, rest = self.end, iter(records)
            for first in rest:
                segment = self._write(itertools.chain([first], rest), segment_bytes_max)
                self.segments = (*self.segments, segment)
                _write_manifest(self.folder, self.segments)
            return self.end - before

    # -- segments ---------------------------------------------------------------------------------------------------

    def _write(self, records: Iterator[Record], bytes_max: int) -> Segment:
        """One segment of the next records, up to `bytes_max`; on disk under its name when this returns."""
        first, path = self.end, self.folder / f"{self.end:020}.segment"
        draft = path.with_suffix(".draft")
        digest, size, end = hashlib.sha256(MAGIC), len(MAGIC), first
        with _created(draft) as out:
            out.write(MAGIC)
            for record in records:
                if record.offset != end:
                    raise ArchiveError(
                        f"the ledger topic goes from offset {end - 1} to {record.offset}: it is not the one archived here"
                    )
                frame = _framed(record)
                out.write(frame)
                digest.update(frame)
                size, end = size + len(frame), end + 1
                if size >= bytes_max:
                    break
            _sync(out)
        draft.replace(path)
        _sync_folder(self.folder)
        return Segment(path.name, first, end, size, digest.hexdigest())

    def _read(self, segment: Segment) -> Iterator[Record]:
        with _opened(self.folder, segment) as file:
            yield from _read_frames(file, segment)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as err:
            raise ArchiveBusy(f"another backup is writing to {self.folder}: wait for it") from err
        finally:
            os.close(descriptor)


def _read_frames(file: BinaryIO, segment: Segment) -> Iterator[Record]:
    start = file.read(len(MAGIC))
    if start != MAGIC:
        raise _damaged(segment, "does not begin as a segment of a ledger archive")
    digest, expected, rest = hashlib.sha256(start), segment.first, b""
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
        data, at, size = rest + block, 0, len(rest) + len(block)
        while (begin := at + _FRAME.size) <= size:
            length, crc = _frame_at(data, at)
            if begin + length > size and length <= FRAME_BYTES_MAX:
                break
            at = begin + length
            yield _checked(data[begin:at], length, crc, segment, expected)
            expected += 1
        rest = data[at:]
    if rest:
        raise _damaged(segment, f"is torn or changed at offset {expected}")
    if expected != segment.end or digest.hexdigest() != segment.sha256:
        raise _damaged(segment, "is not what the manifest names")


def _checked(payload: bytes, length: int, crc: int, segment: Segment, expected: int) -> Record:
    """The record of a frame's payload, which is to be so long, of this CRC-32, and the record at offset `expected`."""
    if len(payload) != length or length > FRAME_BYTES_MAX or zlib.crc32(payload) != crc:
        raise _damaged(segment, f"is torn or changed at offset {expected}")
    record = _parsed(payload)
    if record.offset != expected:
        raise _damaged(segment, f"holds offset {record.offset} in place of {expected}")
    return record


@contextmanager
def _opened(folder: Path, segment: Segment) -> Iterator[BinaryIO]:
    try:
        with (folder / segment.file).open("rb") as file:
            yield file
    except FileNotFoundError as err:
        raise ArchiveDamaged(f"{segment.file} is missing: bring it back from another copy of this archive") from err


def _damaged(segment: Segment, what: str) -> ArchiveDamaged:
    return ArchiveDamaged(f"{segment.file} {what}: bring it back from another copy of this archive")


def _framed(record: Record) -> bytes:
    parts = [_HEAD.pack(record.offset, record.timestamp_ms, len(record.headers)), _blob(record.key), _blob(record.value)]
    for name, content in record.headers:
        parts += [_blob(name.encode()), _blob(content)]
    payload = b"".join(parts)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _parsed(payload: bytes) -> Record:
    """The record of a payload whose CRC has been checked."""
    offset, timestamp, count = _HEAD.unpack_from(payload)
    key, at = _blob_at(payload, _HEAD.size)
    content, at = _blob_at(payload, at)
    return Record(offset, timestamp, key, content, _headers(payload[at:], count))


def _headers(data: bytes, count: int) -> tuple[tuple[str, bytes], ...]:
    """The headers of a record. Most differ from others of that length in the last one's content alone."""
    known = _known.get((count, len(data)))
    if known is not None and data.startswith(known.begin):
        return (*known.headers, (known.name, data[len(known.begin) :]))
    parts, at = list[bytes](), 0
    for _ in range(2 * count):
        part, at = _blob_at(data, at)
        parts.append(part or b"")
    headers = tuple([(name.decode(), content) for name, content in zip(parts[::2], parts[1::2], strict=True)])
    if headers and at == len(data) and (known is not None or len(_known) < KNOWN_MAX):
        *others, (name, content) = headers
        _known[count, at] = _Known(data[: at - len(content)], tuple(others), name)
    return headers


@dataclass(frozen=True, slots=True)
class _Known:
    """Headers of one length altogether: the bytes that they begin with, up to the last one's content, and what these say."""

    begin: bytes
    headers: tuple[tuple[str, bytes], ...]
    name: str


KNOWN_MAX: Final = 100
"""A ledger's records are of a few lengths; an archive of anything else is read as well, a little slower."""

_known: dict[tuple[int, int], _Known] = {}


def _blob_at(data: bytes, at: int) -> tuple[bytes | None, int]:
    """The blob that begins there, and where it ends."""
    begin = at + _LENGTH.size
    (length,) = _length_at(data, at)
    return (None, begin) if length < 0 else (data[begin : begin + length], begin + length)


def _blob(data: bytes | None) -> bytes:
    return _LENGTH.pack(-1) if data is None else _LENGTH.pack(len(data)) + data


# -- the manifest -------------------------------------------------------------------------------------------------------


def _read_manifest(folder: Path) -> tuple[Segment, ...]:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        segments = tuple(Segment(**s) for s in found["segments"])
        if found["format"] != FORMAT:
            raise ArchiveError(f"{MANIFEST} is of format {found['format']}; this release reads {FORMAT}")
        if found["sha256"] != _digest(segments):
            raise ValueError("its checksum does not match")
    except (FileNotFoundError, NotADirectoryError) as err:
        raise ArchiveMissing(f"{folder} holds no ledger archive ({MANIFEST} is not there)") from err
    except (ValueError, KeyError, TypeError) as err:
        raise ArchiveDamaged(f"{MANIFEST} is torn or changed: bring it back from another copy of this archive") from err
    expected = 0
    for segment in segments:
        if segment.first != expected or segment.end <= segment.first:
            raise ArchiveDamaged(f"{MANIFEST} names no segment that begins at offset {expected}")
        expected = segment.end
    return segments


def _write_manifest(folder: Path, segments: tuple[Segment, ...]) -> None:
    value = {"format": FORMAT, "segments": [asdict(s) for s in segments], "sha256": _digest(segments)}
    draft = folder / f"{MANIFEST}.draft"
    with _created(draft) as out:
        out.write(json.dumps(value, indent=1).encode())
        _sync(out)
    draft.replace(folder / MANIFEST)
    _sync_folder(folder)


def _digest(segments: tuple[Segment, ...]) -> str:
    return hashlib.sha256(json.dumps([asdict(s) for s in segments], sort_keys=True).encode()).hexdigest()


def _created(path: Path) -> BinaryIO:
    """A new file that only we can read, in the place of what a crash left there."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
