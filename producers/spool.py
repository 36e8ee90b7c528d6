"""Facts on disk until the broker has them: a bounded queue of segment files that survives a crash at any byte.

One write is one or more groups, `magic · length · crc32 · first number · count · facts`, and each group is on the disk
(fsync) before the next is written. So on opening, a broken group with a whole one behind it was confirmed to somebody:
damage, told and left alone. A broken end was not: it is cut off and kept beside as `*.torn`. The position (what the
broker has acknowledged) may lag after a crash: facts then go out again under the same `event_id`, and count once (I1).

The folder belongs to the agency and holds its facts in clear: mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from producers.errors import SpoolClosed, SpoolDamaged, SpoolFull, SpoolInUse, SpoolUnwritable
from producers.facts import Fact

log = structlog.get_logger(__name__)

MAGIC: Final = b"SLg1"
HEAD: Final = struct.Struct(">4sIIQI")
"""Magic, bytes that follow, CRC-32 of number, count and those bytes, number of the first fact, count of facts."""

CRC_OVER: Final = struct.Struct(">QI")
FACT: Final = struct.Struct(">II")
"""Bytes of a fact's few fields (JSON), bytes of its body."""

GROUP_BYTES: Final = 1024 * 1024
"""A group ends here: about 1,700 facts an fsync, and at most this much is read at once (or one fact of 256 KiB)."""

GROUP_BYTES_MAX: Final = GROUP_BYTES + 512 * 1024
"""A longer length is not a group's."""

BYTES_MAX: Final = 256 * 1024 * 1024
"""Default bound on disk: about 400,000 facts of 600 bytes, days of one agency."""

FACTS_MAX: Final = 1_000_000
SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""A segment is deleted as a whole once acknowledged; 8 MiB is about 13,000 facts."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A fact in the spool with its number."""

    number: int
    fact: Fact


class _Group(NamedTuple):
    first: int
    facts: int
    body: bytes
    end: int


class Spool:
    """The queue in `folder`. One process at a time; one thread may read while others append."""

    def __init__(
        self, folder: Path, *, bytes_max: int = BYTES_MAX, facts_max: int = FACTS_MAX, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open or create.

        Raises:
            SpoolInUse: another process has it; SpoolDamaged: a file does not check in its middle; SpoolUnwritable.
        """
        self.folder, self.bytes_max, self.facts_max, self.segment_bytes = folder, bytes_max, facts_max, segment_bytes
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = self._failed = False
        self._acked = self._last = self._bytes = 0
        self._segments: dict[int, int] = {}
        self._reached = (0, 0, 0)  # segment, number read up to, byte behind it: where the reader goes on
        self._owner = _own(folder)
        try:
            self._recover()
        except OSError as err:
            os.close(self._owner)
            raise unwritable(folder, err) from err
        except BaseException:
            os.close(self._owner)
            raise

    @property
    def waiting(self) -> int:
        """Facts stored and not yet acknowledged."""
        return self._last - self._acked

    @property
    def last(self) -> int:
        """Number of the newest fact stored; numbers begin at 1 and have no gaps."""
        return self._last

    @property
    def acked(self) -> int:
        """Everything up to this number is acknowledged."""
        return self._acked

    def append(self, facts: Sequence[Fact]) -> int:
        """Store all of `facts`; returns the number of the last once the disk has them.

        A crash within may leave some of the first of them stored; an error leaves none.

        Raises:
            SpoolFull: the bound would be passed; SpoolUnwritable: the disk refused; SpoolClosed.
        """
        with self._open():
            groups = list(_groups(self._last + 1, facts))
            size = sum(map(len, groups))
            if self._bytes + size > self.bytes_max:
                self._drop_segments(active=True)
            if self.waiting + len(facts) > self.facts_max or self._bytes + size > self.bytes_max:
                raise SpoolFull(
                    f"the spool {self.folder} holds {self.waiting} facts in {self._bytes} bytes and is full; "
                    "see why the broker does not take them, then publish again"
                )
            self._write(groups, size)
            self._last += len(facts)
            self._bytes += size
            return self._last

    def read(self, after: int, about: int) -> list[Waiting]:
        """Stored facts with numbers above `after`, in order: whole groups, until `about` are found."""
        with self._lock:
            starts = self._starts()
            ends = dict(zip(starts, [*starts[1:], self._last + 1], strict=True))
            last = self._last
        found: list[Waiting] = []
        for start in (s for s, following in ends.items() if following > after + 1):
            for group in self._scan(start, after if not found else found[-1].number, last):
                found += [w for w in _unpack(group) if w.number > after]
                if len(found) >= about:
                    return found
        return found

    def acknowledge(self, number: int) -> None:
        """The broker has everything up to `number`: not sent again (save after a crash just now); whole segments go.

        Raises:
            SpoolUnwritable: it is acknowledged, and a segment stays on the disk for now; SpoolClosed.
        """
        with self._open():
            if number > self._acked:
                self._acked = number
                try:
                    self._write_position(synced=False)  # lost by a crash: facts go out again, and count once
                except OSError as err:
                    log.warning("spool.position_not_saved", error=err.strerror)
                self._drop_segments(active=False)

    def tidy(self) -> None:
        """Remove what is acknowledged from the disk, the active segment too when nothing waits.

        Raises:
            SpoolUnwritable: it stays there for now; SpoolClosed.
        """
        with self._open():
            self._drop_segments(active=True)

    def close(self) -> None:
        """Tidy, and let another process open the folder. Closed already, or another process's: nothing."""
        with contextlib.suppress(SpoolClosed), self._open():
            try:
                self._drop_segments(active=True)
            except SpoolUnwritable as err:
                log.warning("spool.not_tidied", why=str(err))
            finally:
                self._closed = True
                os.close(self._file)
                os.close(self._owner)

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Alone, while it is open here: whoever has it open next would neither see nor send what is written besides."""
        if os.getpid() != self._process:  # before the lock, which a thread may hold that is not in this process
            raise SpoolClosed(f"the spool {self.folder} is another process's; open a client in this one, on a folder of its own")
        with self._lock:
            if self._closed:
                raise SpoolClosed(f"the spool {self.folder} is closed; publish while its client is open")
            yield

    # The active segment is the one with the highest start. A segment's name is its first number, so that names sort.

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:020d}.facts"

    def _starts(self) -> list[int]:
        return sorted(self._segments)

    def _recover(self) -> None:
        starts = sorted(int(p.stem) for p in self.folder.glob("*.facts"))
        position = self._position()
        self._last = starts[0] - 1 if starts else position
        for start in starts:
            if start != self._last + 1:
                raise SpoolDamaged(f"{self._path(start).name} in {self.folder} does not follow its forerunner: facts are missing")
            data = self._path(start).read_bytes()
            self._last, good = _extent(data, start)
            if good < len(data):
                self._cut(start, data, good, is_last=start == starts[-1])
            self._segments[start] = good
        self._bytes = sum(self._segments.values())
        self._acked = max(min(position, self._last), starts[0] - 1) if starts else position
        if not starts:
            self._file = self._new_segment()
            return
        self._file = os.open(self._path(starts[-1]), os.O_RDWR | os.O_APPEND)
        os.fsync(self._file)  # whoever died before it may have left an end that a loss of power takes: not to be sent
        if position > self._last:
            # facts it counts as acknowledged are gone: have it on the disk before theirs are the numbers of others
            self._write_position(synced=True)
            log.warning("spool.position_lowered", acknowledged=self._acked)

    def _cut(self, start: int, data: bytes, good: int, *, is_last: bool) -> None:
        path = self._path(start)
        if not is_last or _group_follows(data, good):
            raise SpoolDamaged(
                f"spool file {path.name} in {self.folder} does not check at byte {good}: "
                "move it away and publish what it held again"
            )
        _write(path.with_suffix(".torn"), data[good:], synced=True)
        with path.open("r+b") as file:
            file.truncate(good)
            os.fsync(file.fileno())
        log.warning("spool.torn_end_cut", file=path.name, bytes=len(data) - good)

    def _write(self, groups: list[bytes], size: int) -> None:
        if self._failed:
            raise SpoolUnwritable(f"the spool {self.folder} could not undo a failed write; restart this client")
        start = max(self._segments)
        try:
            if self._segments[start] and self._segments[start] + size > self.segment_bytes:
                fresh = self._new_segment()
                os.close(self._file)
                self._file, start = fresh, self._last + 1
            for group in groups:
                view = memoryview(group)
                while view:
                    view = view[os.write(self._file, view) :]
                os.fsync(self._file)
        except OSError as err:
            self._undo(self._segments[start])
            raise unwritable(self.folder, err) from err
        self._segments[start] += size

    def _undo(self, size: int) -> None:
        try:
            os.ftruncate(self._file, size)
        except OSError:
            self._failed = True  # another group behind half a group would read as damage

    def _new_segment(self) -> int:
        start = self._last + 1
        path = self._path(start)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _sync_folder(self.folder)
        except OSError:
            os.close(file)
            self._take_back(path)
            raise
        self._segments[start] = 0
        return file

    def _take_back(self, path: Path) -> None:
        try:
            path.unlink()
        except OSError:
            self._failed = True  # facts that its forerunner then takes would have a segment in their midst

    def _drop_segments(self, *, active: bool) -> None:
        newest = max(self._segments)
        try:
            if active and self._acked == self._last and self._segments[newest]:
                fresh = self._new_segment()
                os.close(self._file)
                self._file = fresh
            for start, following in pairwise(self._starts()):
                if following > self._acked + 1:
                    break
                self._path(start).unlink(missing_ok=True)
                self._bytes -= self._segments.pop(start)
        except OSError as err:
            raise unwritable(self.folder, err) from err

    def _scan(self, start: int, after: int, last: int) -> Iterator[_Group]:
        """Groups of a segment that reach above `after`, beginning where the reader stopped when it reads on."""
        offset = self._reached[2] if self._reached[:2] == (start, after) else 0
        try:
            file = self._path(start).open("rb")
        except FileNotFoundError:
            return  # acknowledged and removed since we looked
        with file:
            file.seek(offset)
            while head := file.read(HEAD.size):
                if len(head) < HEAD.size or HEAD.unpack(head)[3] > last:
                    return  # being written just now
                group = _check(head + file.read(min(HEAD.unpack(head)[1], GROUP_BYTES_MAX)), 0)
                if group is None:
                    raise SpoolDamaged(f"spool file {self._path(start).name} in {self.folder} does not check at byte {offset}")
                offset += group.end
                final = group.first + group.facts - 1
                if final > after:
                    self._reached = (start, final, offset)
                    yield group

    def _position(self) -> int:
        try:
            return int(json.loads((self.folder / "position").read_text())["acknowledged"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return 0  # lost or cut by a crash: facts go out again, and count once

    def _write_position(self, *, synced: bool) -> None:
        """Whole or not at all when the process dies; `synced`: also when the power is lost."""
        draft = self.folder / "position.new"
        _write(draft, json.dumps({"acknowledged": self._acked}).encode(), synced=synced)
        draft.replace(self.folder / "position")
        if synced:
            _sync_folder(self.folder)


def _own(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        owner = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        raise unwritable(folder, err) from err
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(owner)
        raise SpoolInUse(f"another process uses the spool {folder}; end it, or give this client a folder of its own") from err
    return owner


def _groups(first: int, facts: Sequence[Fact]) -> Iterator[bytes]:
    packed: list[bytes] = []
    size = 0
    for fact in facts:
        one = _pack(fact)
        if packed and size + len(one) > GROUP_BYTES:
            yield _group(first, packed)
            first, packed, size = first + len(packed), [], 0
        packed.append(one)
        size += len(one)
    if packed:
        yield _group(first, packed)


def _group(first: int, packed: list[bytes]) -> bytes:
    body = b"".join(packed)
    return HEAD.pack(MAGIC, len(body), _crc(first, len(packed), body), first, len(packed)) + body


def _crc(first: int, count: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(CRC_OVER.pack(first, count)))


def _pack(fact: Fact) -> bytes:
    meta = json.dumps([fact.event_id, fact.record, fact.schema, fact.key, fact.time], separators=(",", ":")).encode()
    return FACT.pack(len(meta), len(fact.body)) + meta + fact.body


def _unpack(group: _Group) -> Iterator[Waiting]:
    at = 0
    for number in range(group.first, group.first + group.facts):
        meta, body = FACT.unpack_from(group.body, at)
        at += FACT.size
        event_id, record, schema, key, time = json.loads(group.body[at : at + meta])
        yield Waiting(number, Fact(event_id, record, schema, key, time, group.body[at + meta : at + meta + body]))
        at += meta + body


def _check(data: bytes, at: int) -> _Group | None:
    """The whole group at `at`; None where there is none."""
    if at + HEAD.size > len(data):
        return None
    magic, length, crc, first, count = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if magic != MAGIC or length > GROUP_BYTES_MAX or end > len(data):
        return None
    body = data[at + HEAD.size : end]
    return _Group(first, count, body, end) if _crc(first, count, body) == crc else None


def _extent(data: bytes, start: int) -> tuple[int, int]:
    """The last number, and the end, of the unbroken run of groups from the beginning."""
    number, at = start - 1, 0
    while (group := _check(data, at)) is not None and group.first == number + 1:
        number, at = group.first + group.facts - 1, group.end
    return number, at


def _group_follows(data: bytes, bad: int) -> bool:
    """True when a whole group lies anywhere behind a broken one, or stands in its place under another's number."""
    at = data.find(MAGIC, bad)
    while at >= 0:
        if _check(data, at) is not None:
            return True
        at = data.find(MAGIC, at + 1)
    return False


def _write(path: Path, data: bytes, *, synced: bool) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        if synced:
            file.flush()
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(folder: Path, err: OSError) -> SpoolUnwritable:
    """What to tell whoever publishes, when the disk refuses."""
    return SpoolUnwritable(f"the spool {folder} cannot be written ({err.strerror}); give it a folder of yours with room")
