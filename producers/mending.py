"""A spool that is damaged in its middle, made whole of every fact that can be read."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from producers.errors import SpoolError
from producers.facts import Fact
from producers.groups import Group, extent, pack, readable, unpack
from producers.spool import MENDING, own, read_position, sync_folder, unwritable, write

DRAFT: Final = "mended.new"
"""What was readable, until it is a segment."""


@dataclass(frozen=True, slots=True)
class Mended:
    """`waiting` facts go out when a client opens the spool; `lost`: so many between them cannot be read, those of files that are
    missing included; `open_end`: behind the last of them are bytes of nobody knows how many more; `aside`: the damaged files as
    they were.
    """

    waiting: int
    lost: int
    open_end: bool
    aside: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done to the folder once it is decided: `first` names the new segment, and every file before it goes."""

    first: int
    waiting: int
    lost: int
    open_end: bool
    bent: list[str]


def mend(folder: Path) -> Mended:
    """Let every fact that can be read and was not acknowledged wait again, in its order; damaged files are kept as `*.damaged`.

    What was readable is on the disk anew before any file is moved. After a crash, mend again: it is finished as it was decided,
    and until then no client opens the spool.

    Raises:
        SpoolError: there is no spool; SpoolInUse: its client runs; SpoolUnwritable: the disk refused, and nothing is lost by it.
    """
    if not any(folder.glob("*.facts")):
        raise SpoolError(f"{folder} holds no spool file; give the folder that the error names")
    owner = own(folder)
    try:
        return _finish(folder, _decided(folder) or _decide(folder))
    except OSError as err:
        raise unwritable(folder, err) from err
    finally:
        os.close(owner)


def _decide(folder: Path) -> _Plan:
    """What is to be done, on the disk with all it needs; nothing is changed yet."""
    if (folder / MENDING).exists():
        (folder / MENDING).unlink()  # it came to nothing, and the draft to come is not its own
    sync_folder(folder)
    plan, facts = _read(folder)
    drafts = {DRAFT: b"".join(pack(plan.first, facts)), f"{MENDING}.new": json.dumps(asdict(plan)).encode()}
    try:
        for name, content in drafts.items():
            write(folder / name, content, synced=True)
        (folder / f"{MENDING}.new").rename(folder / MENDING)
    except OSError:
        for name in drafts:
            with contextlib.suppress(OSError):  # there or not, what the disk said first is the one to tell
                (folder / name).unlink()
        raise
    sync_folder(folder)
    return plan


def _read(folder: Path) -> tuple[_Plan, list[Fact]]:
    """What there is to do, and the facts that go into the new segment."""
    files, acked = sorted(folder.glob("*.facts")), read_position(folder)
    firsts = [int(path.stem) for path in files]
    groups: list[Group] = []
    bent: list[str] = []
    for path, first, upto in zip(files, firsts, [*firsts[1:], None], strict=True):
        data = path.read_bytes()
        found = readable(data, first, upto)
        groups += found
        if extent(data, first)[1] < len(data):
            bent.append(path.name)
    open_end = (found[-1].end if found else 0) < len(data)
    waiting = [w for group in groups for w in unpack(group) if w.number > acked]
    begin = max(acked, firsts[0] - 1)
    numbers = {w.number for w in waiting if w.number > begin}
    last = max(begin, firsts[-1] - 1, *numbers)
    plan = _Plan(max(last, firsts[-1]) + 1, len(waiting), last - begin - len(numbers), open_end, bent)
    return plan, [w.fact for w in waiting]


def _decided(folder: Path) -> _Plan | None:
    """What a mending that ended early had decided; None if there was none, or if it has come to nothing."""
    try:
        plan = _Plan(**json.loads((folder / MENDING).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return plan if (folder / DRAFT).exists() or _segment(folder, plan).exists() else None


def _finish(folder: Path, plan: _Plan) -> Mended:
    """Each step may have been done before; until the last no client opens the spool, as if nothing were missing."""
    if (folder / DRAFT).exists():
        (folder / DRAFT).rename(_segment(folder, plan))
        sync_folder(folder)
    bent = [folder / name for name in plan.bent]
    for path in sorted(set(folder.glob("*.facts")).difference(bent)):
        if int(path.stem) < plan.first:
            path.unlink()
    sync_folder(folder)
    for path in bent:
        if path.exists():
            path.rename(path.with_suffix(".damaged"))
    sync_folder(folder)
    (folder / MENDING).unlink()  # should this be undone by a loss of power, all is done once more, to no effect
    return Mended(plan.waiting, plan.lost, plan.open_end, tuple(path.with_suffix(".damaged") for path in bent))


def _segment(folder: Path, plan: _Plan) -> Path:
    """Behind every other: the numbers of what was lost are nobody else's."""
    return folder / f"{plan.first:020d}.facts"
