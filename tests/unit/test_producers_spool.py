"""The spool: facts once stored come out, in order, after a crash at any byte; bounds are said aloud."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import SpoolClosed, SpoolDamaged, SpoolFull, SpoolInUse, SpoolUnwritable
from producers.groups import HEAD
from producers.sender import SchemaShelf
from producers.spool import Spool
from schemas.catalogue import spec
from tests.unit.spools import fact, numbers


class TestOrder:
    """First in, first out, across restarts."""

    def test_first_in_first_out_across_restart(self, folder: Path) -> None:
        """What was stored waits in order, also for the next process."""
        spool = Spool(folder, segment_bytes=300)
        for at in range(1, 21):
            spool.append([fact(at)])
        spool.acknowledge(7)
        assert list(range(8, 21)) == numbers(spool)
        spool.close()
        again = Spool(folder, segment_bytes=300)
        assert (13, list(range(8, 21))) == (again.waiting, numbers(again))
        again.close()

    def test_acknowledged_facts_leave_the_disk(self, folder: Path) -> None:
        """Nothing of a delivered fact stays once the spool is idle."""
        spool = Spool(folder)
        spool.append([fact(n) for n in range(1, 50)])
        spool.acknowledge(49)
        spool.tidy()
        assert 0 == sum(p.stat().st_size for p in folder.glob("*.facts"))
        assert 50 == spool.append([fact(50)])
        assert [50] == numbers(spool)
        spool.close()

    def test_numbers_go_on_after_an_empty_restart(self, folder: Path) -> None:
        """An empty spool does not begin at one again, so a stale position can hide nothing."""
        spool = Spool(folder)
        spool.append([fact(1), fact(2)])
        spool.acknowledge(2)
        spool.close()
        again = Spool(folder)
        again.append([fact(3)])
        assert [3] == numbers(again)
        again.close()

    def test_lost_position_sends_again_and_skips_nothing(self, folder: Path) -> None:
        """A position cut by a crash costs repeats, never facts."""
        spool = Spool(folder)
        spool.append([fact(1), fact(2)])
        spool.acknowledge(1)
        spool.close()
        (folder / "position").write_text('{"ackn')
        again = Spool(folder)
        assert [1, 2] == numbers(again)
        again.close()

    @pytest.mark.parametrize("ahead", [False, True])
    def test_the_position_is_written_in_one_way(self, folder: Path, *, ahead: bool) -> None:
        """Acknowledged or lowered: its owner's alone, and no draft of it stays."""
        spool = Spool(folder)
        spool.append([fact(1)])
        if ahead:
            spool.close()
            (folder / "position").write_text('{"acknowledged": 4}')
            (folder / "position").chmod(0o644)
            spool = Spool(folder)
        spool.acknowledge(1)
        assert (0o600, '{"acknowledged": 1}') == (
            (folder / "position").stat().st_mode & 0o777,
            (folder / "position").read_text(),
        )
        assert not list(folder.glob("*.new"))
        spool.close()

    def test_a_position_ahead_of_the_facts(self, folder: Path) -> None:
        """A loss of power took facts that were sent already: those published next have their numbers, and go out all the same."""
        spool = Spool(folder)
        spool.append([fact(1), fact(2)])
        spool.close()
        (folder / "position").write_text('{"acknowledged": 4}')
        spool = Spool(folder)
        assert (2, 2) == (spool.acked, spool.last)
        spool.append([fact(3), fact(4)])
        spool.close()
        again = Spool(folder)
        assert [3, 4] == numbers(again)
        again.close()

    def test_what_is_found_is_on_the_disk(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that died may have written and not synced: opening syncs the last segment, before any of it is sent."""
        spool = Spool(folder)
        spool.append([fact(1)])
        spool.close()
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
        again = Spool(folder)
        assert next(folder.glob("*.facts")).stat().st_ino in synced
        again.close()


class TestCrash:
    """Cut and bent files."""

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_at_any_byte(self, data: st.DataObject) -> None:
        """Cut anywhere: every confirmed group stays, no half fact comes out, and the spool goes on."""
        groups = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
        folder = Path(tempfile.mkdtemp(prefix="spool-test-"))
        try:
            spool = Spool(folder)
            sizes, total = [0], 0
            path = next(folder.glob("*.facts"))
            for count in groups:
                spool.append([fact(total + n, size=n * 7) for n in range(1, count + 1)])
                total += count
                sizes.append(path.stat().st_size)
            spool.close()
            cut = data.draw(st.integers(0, sizes[-1]))
            with path.open("r+b") as file:
                file.truncate(cut)
            whole = sum(groups[: sum(size <= cut for size in sizes) - 1])
            again = Spool(folder)
            assert list(range(1, whole + 1)) == numbers(again)
            again.append([fact(whole + 1)])
            assert list(range(1, whole + 2)) == numbers(again)
            again.close()
            third = Spool(folder)
            assert list(range(1, whole + 2)) == numbers(third)
            third.close()
        finally:
            shutil.rmtree(folder)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 10_000), st.integers(1, 255))
    def test_a_flipped_bit_is_never_a_wrong_fact(self, at: int, flip: int) -> None:
        """Damage is told, or cut when it is at the end; what comes out is what went in."""
        folder = Path(tempfile.mkdtemp(prefix="spool-test-"))
        try:
            spool = Spool(folder)
            for number in range(1, 6):
                spool.append([fact(number)])
            path = next(folder.glob("*.facts"))
            spool.close()
            data = bytearray(path.read_bytes())
            data[at % len(data)] ^= flip
            path.write_bytes(data)
            try:
                again = Spool(folder)
            except SpoolDamaged:
                return  # told, which is one of the two right answers
            assert [1, 2, 3, 4] == numbers(again)
            assert list(folder.glob("*.torn"))
            again.close()
        finally:
            shutil.rmtree(folder)


class TestBounds:
    """Limits, ownership, and what is said when they are met."""

    def test_full_by_facts_and_by_bytes(self, folder: Path) -> None:
        """The bound is an error that names the folder; what was there stays, and room made is used again."""
        spool = Spool(folder, facts_max=2)
        spool.append([fact(1), fact(2)])
        with pytest.raises(SpoolFull, match="holds 2 facts"):
            spool.append([fact(3)])
        spool.acknowledge(1)
        spool.append([fact(3)])
        assert [2, 3] == numbers(spool)
        spool.close()
        small = Spool(folder, bytes_max=600)
        with pytest.raises(SpoolFull):
            small.append([fact(4, size=600)])
        small.acknowledge(3)
        small.append([fact(4)])
        assert [4] == numbers(small)
        small.close()

    def test_one_process_at_a_time(self, folder: Path) -> None:
        """Two clients on one spool would both send."""
        spool = Spool(folder)
        with pytest.raises(SpoolInUse, match="another process"):
            Spool(folder)
        spool.close()
        Spool(folder).close()

    def test_closed(self, folder: Path) -> None:
        """Another may have it by now and would not see what is written: nothing is taken, and closing again is nothing."""
        spool = Spool(folder)
        spool.append([fact(1)])
        spool.close()
        again = Spool(folder)
        with pytest.raises(SpoolClosed, match="is closed"):
            spool.append([fact(2)])
        for call in (lambda: spool.acknowledge(1), spool.tidy):
            with pytest.raises(SpoolClosed):
                call()
        spool.close()
        again.append([fact(2)])
        assert [1, 2] == numbers(again)
        again.close()

    def test_in_a_forked_process(self, folder: Path) -> None:
        """It has neither the thread that sends nor the numbers that the other gives meanwhile: nothing is taken."""
        spool = Spool(folder)
        with spool._lock:  # as another thread may, at that moment
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    spool.close()
                    spool.append([fact(1)])
                except SpoolClosed:
                    status = 0
                finally:
                    os._exit(status)
        assert (child, 0) == os.waitpid(child, 0)
        spool.append([fact(1)])
        assert [1] == numbers(spool)
        spool.close()

    def test_unwritable(self, folder: Path) -> None:
        """A folder that cannot be made is an error that names it."""
        (folder / "file").write_text("")
        with pytest.raises(SpoolUnwritable, match="cannot be written"):
            Spool(folder / "file" / "spool")

    def test_a_segment_that_could_not_be_begun(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk refuses for a moment: said in words, and nothing of it is left among the facts that come after."""

        def refused(_: Path) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        spool = Spool(folder, bytes_max=600)
        spool.append([fact(1)])
        spool.acknowledge(1)
        with monkeypatch.context() as patch:
            patch.setattr("producers.spool.sync_folder", refused)
            with pytest.raises(SpoolUnwritable):
                spool.tidy()
            with pytest.raises(SpoolUnwritable):
                spool.append([fact(2, size=450)])
        spool.append([fact(2)])
        spool.close()
        again = Spool(folder)
        assert [2] == numbers(again)
        again.close()

    def test_private(self, folder: Path) -> None:
        """Facts lie on disk in clear: for their owner only."""
        for place in (folder / "new", folder / "there"):
            (folder / "there").mkdir(mode=0o755, exist_ok=True)
            spool = Spool(place)
            spool.append([fact(1)])
            assert 0o700 == place.stat().st_mode & 0o777
            spool.close()
            with next(place.glob("*.facts")).open("ab") as file:
                file.write(b"half a group")
            Spool(place).close()
            kept = [*place.glob("*.facts"), *place.glob("*.torn")]
            assert (2, {0o600}) == (len(kept), {p.stat().st_mode & 0o777 for p in kept})

    def test_missing_bytes_between_are_told(self, folder: Path) -> None:
        """A whole group that stands where another was: it is not cut off as an end that nobody was told of."""
        spool = Spool(folder)
        sizes = []
        for number in (1, 2, 3):
            spool.append([fact(number)])
            sizes.append(next(folder.glob("*.facts")).stat().st_size)
        spool.close()
        path = next(folder.glob("*.facts"))
        data = path.read_bytes()
        path.write_bytes(data[: sizes[0]] + data[sizes[1] :])
        with pytest.raises(SpoolDamaged, match=f"at byte {sizes[0]}"):
            Spool(folder)

    def test_a_length_that_leads_to_the_end(self, folder: Path) -> None:
        """The first group's length is damaged and leads to the file's end: the whole groups behind it are no torn end (I1)."""
        spool = Spool(folder)
        for number in (1, 2, 3):
            spool.append([fact(number)])
        spool.close()
        path = next(folder.glob("*.facts"))
        data = bytearray(path.read_bytes())
        data[4:8] = (len(data) - HEAD.size).to_bytes(4, "big")
        path.write_bytes(data)
        with pytest.raises(SpoolDamaged, match="at byte 0"):
            Spool(folder)

    def test_a_missing_file_between_is_told(self, folder: Path) -> None:
        """A segment that somebody removed is not passed over in silence."""
        spool = Spool(folder, segment_bytes=100)
        for number in range(1, 10):
            spool.append([fact(number)])
        spool.close()
        sorted(folder.glob("*.facts"))[3].unlink()
        with pytest.raises(SpoolDamaged, match="facts are missing"):
            Spool(folder)


def test_a_full_disk_under_the_schemas_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under the facts themselves; and with room again the schema is kept."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shelf, needed = SchemaShelf(tmp_path / "schemas"), spec("SchoolConcern")
    with monkeypatch.context() as patch, pytest.raises(SpoolUnwritable, match="with room"):
        patch.setattr(os, "fsync", full)
        shelf.keep(needed)
    shelf.keep(needed)
    assert needed.text == (tmp_path / "schemas" / f"{needed.fingerprint}.avsc").read_text()
