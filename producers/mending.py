"""A spool that is damaged in its middle, made whole of every fact that can be read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from producers.errors import SpoolError
from producers.facts import Fact
from producers.groups import Group, extent, pack, readable, unpack
from producers.spool import own, read_position, sync_folder, unwritable, write


@dataclass(frozen=True, slots=True)
class Mended:
    """`waiting` facts go out when a client opens the spool; `lost`: so many between them cannot be read, those of files that are
    missing included; `aside`: the damaged files as they were.
    """

    waiting: int
    lost: int
    aside: tuple[Path, ...]


def mend(folder: Path) -> Mended:
    """Let every fact that can be read and was not acknowledged wait again, in its order; damaged files are kept as `*.damaged`.

    What was readable is on the disk anew before any file is moved: after a crash, mend again. A fact may then go out twice,
    under its one `event_id`, and counts once (I1).

    Raises:
        SpoolError: there is no spool; SpoolInUse: its client runs; SpoolUnwritable: the disk refused, and nothing is lost by it.
    """
    if not any(folder.glob("*.facts")):
        raise SpoolError(f"{folder} holds no spool file; give the folder that the error names")
    owner = own(folder)
    try:
        return _mend(folder)
    except OSError as err:
        raise unwritable(folder, err) from err
    finally:
        os.close(owner)


def _mend(folder: Path) -> Mended:
    files, acked = sorted(folder.glob("*.facts")), read_position(folder)
    groups: list[Group] = []
    bent: list[Path] = []
    for path in files:
        data = path.read_bytes()
        groups += readable(data)
        if extent(data, int(path.stem))[1] < len(data):
            bent.append(path)
    waiting = [w for group in groups for w in unpack(group) if w.number > acked]
    begin, starts = max(acked, int(files[0].stem) - 1), int(files[-1].stem)
    found = {w.number for w in waiting if w.number > begin}
    last = max(begin, starts - 1, *found)
    _begin_anew(folder, max(last, starts) + 1, [w.fact for w in waiting])
    for path in set(files).difference(bent):
        path.unlink()
    sync_folder(folder)  # what is damaged goes last: until then the spool cannot be opened as if nothing were missing
    aside = [path.rename(path.with_suffix(".damaged")) for path in bent]
    sync_folder(folder)
    return Mended(len(waiting), last - begin - len(found), tuple(aside))


def _begin_anew(folder: Path, first: int, facts: list[Fact]) -> None:
    """A segment behind every other: the numbers of what was lost are nobody else's."""
    draft = folder / "mended.new"
    write(draft, b"".join(pack(first, facts)), synced=True)
    draft.rename(folder / f"{first:020d}.facts")
    sync_folder(folder)
