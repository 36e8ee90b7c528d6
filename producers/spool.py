"""Facts on disk until the broker has them: a bounded queue of segment files that survives a crash at any byte.

One write is one or more groups, `magic · length · crc32 · first number · count · facts`, and each group is on the disk
(fsync) before the next is written. So on opening, a broken group with a whole one behind it was confirmed to somebody:
damage, told and left alone; `producers.mending` is the way out. A broken end was not: it is cut off and kept beside as
`*.torn`. The position (what the broker has acknowledged) may lag after a crash: facts then go out again under the same
`event_id`, and count once (I1).

The folder belongs to the agency and holds its facts in clear: mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog

from producers.errors import SpoolClosed, SpoolDamaged, SpoolFull, SpoolInUse, SpoolUnwritable
from producers.facts import Fact
from producers.groups import GROUP_BYTES_MAX, HEAD, Group, Waiting, check, extent, follows, pack, unpack

log = structlog.get_logger(__name__)

BYTES_MAX: Final = 256 * 1024 * 1024
"""Default bound on disk: about 400,000 facts of 600 bytes, days of one agency."""

FACTS_MAX: Final = 1_000_000
MENDING: Final = "mending"
"""While a file of this name is there, its mending has begun and is not done."""

SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""A segment is deleted as a whole once acknowledged; 8 MiB is about 13,000 facts."""


class Spool:
    """The queue in `folder`. One process at a time; one thread may read while others append."""

    def __init__(
        self, folder: Path, *, bytes_max: int = BYTES_MAX, facts_max: int = FACTS_MAX, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open or create.

        Raises:
            SpoolInUse: another process has it; SpoolDamaged: a file does not check in its middle, or its mending is not done;
            SpoolUnwritable.
        """
        self.folder, self.bytes_max, self.facts_max, self.segment_bytes = folder, bytes_max, facts_max, segment_bytes
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = self._failed = False
        self._acked = self._last = self._bytes = 0
        self._segments: dict[int, int] = {}
        self._reached = (0, 0, 0)  # segment, number read up to, byte behind it: where the reader goes on
        self._owner = own(folder)
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
            groups = list(pack(self._last + 1, facts))
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
                found += [w for w in unpack(group) if w.number > after]
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
        if (self.folder / MENDING).exists():
            raise SpoolDamaged(
                f"the mending of the spool {self.folder} ended early; `sightline publish mend-spool {self.folder}` finishes it"
            )
        starts = sorted(int(p.stem) for p in self.folder.glob("*.facts"))
        position = read_position(self.folder)
        self._last = starts[0] - 1 if starts else position
        for start in starts:
            if start != self._last + 1:
                raise damaged(self._path(start), f"does not follow on fact {self._last}: facts are missing")
            data = self._path(start).read_bytes()
            self._last, good = extent(data, start)
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
        if not is_last or follows(data, good):
            raise damaged(path, f"does not check at byte {good}")
        write(path.with_suffix(".torn"), data[good:], synced=True)
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
            sync_folder(self.folder)
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

    def _scan(self, start: int, after: int, last: int) -> Iterator[Group]:
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
                group = check(head + file.read(min(HEAD.unpack(head)[1], GROUP_BYTES_MAX)), 0)
                if group is None:
                    raise damaged(self._path(start), f"does not check at byte {offset}")
                offset += group.end
                final = group.first + group.facts - 1
                if final > after:
                    self._reached = (start, final, offset)
                    yield group

    def _write_position(self, *, synced: bool) -> None:
        """Whole or not at all when the process dies; `synced`: also when the power is lost."""
        draft = self.folder / "position.new"
        write(draft, json.dumps({"acknowledged": self._acked}).encode(), synced=synced)
        draft.replace(self.folder / "position")
        if synced:
            sync_folder(self.folder)


def own(folder: Path) -> int:
    """The folder as this process's alone, made if it is not there; a descriptor that gives it back when closed.

    Raises:
        SpoolInUse, SpoolUnwritable.
    """
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


def write(path: Path, data: bytes, *, synced: bool) -> None:
    """A file for its owner alone; `synced`: its bytes are on the disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        if synced:
            file.flush()
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_position(folder: Path) -> int:
    """Everything up to this number was acknowledged."""
    try:
        return int(json.loads((folder / "position").read_text())["acknowledged"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0  # lost or cut by a crash: facts go out again, and count once


def damaged(path: Path, what: str) -> SpoolDamaged:
    """What to tell whoever opens or sends, when a file is not as it was written."""
    return SpoolDamaged(
        f"spool file {path.name} in {path.parent} {what}; end its client, then `sightline publish mend-spool {path.parent}` "
        "lets every fact in it that can be read wait again, and says how many cannot"
    )


def unwritable(folder: Path, err: OSError) -> SpoolUnwritable:
    """What to tell whoever publishes, when the disk refuses."""
    return SpoolUnwritable(f"the spool {folder} cannot be written ({err.strerror}); give it a folder of yours with room")
