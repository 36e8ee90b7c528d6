"""A damaged spool: every group that is whole waits again, and what is lost is said aloud."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import SpoolDamaged, SpoolError, SpoolInUse, SpoolUnwritable
from producers.groups import HEAD, MAGIC, pack, readable, unpack
from producers.mending import Mended, mend
from producers.spool import Spool
from tests.unit.spools import Crash, fact, numbers


class TestMended:
    """A spool that is damaged in its middle tells the way out, and that way loses nothing that can be read."""

    @staticmethod
    def stored(folder: Path, acked: int = 0) -> list[Path]:
        """Nine facts in files of two."""
        spool = Spool(folder, segment_bytes=300)
        for number in range(1, 10):
            spool.append([fact(number)])
        spool.acknowledge(acked)
        spool.close()
        return sorted(folder.glob("*.facts"))

    @staticmethod
    def bend(path: Path, which: int) -> int:
        """Change a byte in the body of one of a file's groups; the number of its fact."""
        data = bytearray(path.read_bytes())
        group = readable(bytes(data), int(path.stem))[which]
        data[group.end - 1] ^= 1
        path.write_bytes(data)
        return group.first

    def refused(self, folder: Path) -> str:
        """What is said to whoever opens it."""
        with pytest.raises(SpoolDamaged) as told:
            Spool(folder)
        return str(told.value)

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_file_in_the_middle(self, folder: Path, which: int) -> None:
        """The error names file, place and command; the readable facts before, beside and behind it wait, one is told as lost."""
        path = self.stored(folder)[1]
        bent = self.bend(path, which)
        data, said = path.read_bytes(), self.refused(folder)
        assert [] == [w for w in (path.name, "at byte ", f"`sightline publish mend-spool {folder}`") if w not in said]
        done = mend(folder)
        assert (8, 1, [data]) == (done.waiting, done.lost, [p.read_bytes() for p in done.aside])
        spool = Spool(folder)
        assert [n for n in range(1, 10) if n != bent] == numbers(spool)
        spool.append([fact(10)])
        assert [n for n in range(1, 11) if n != bent] == numbers(spool)
        spool.close()

    def test_the_advice_holds_for_what_is_found_while_sending(self, folder: Path) -> None:
        """A client that runs has the folder; once it has ended, its later facts are kept as well."""
        spool = Spool(folder)
        for number in (1, 2, 3):
            spool.append([fact(number)])
        self.bend(next(folder.glob("*.facts")), 1)
        with pytest.raises(SpoolDamaged, match="mend-spool"):
            numbers(spool)
        spool.append([fact(4)])
        with pytest.raises(SpoolInUse):
            mend(folder)
        spool.close()
        assert (3, 1) == ((done := mend(folder)).waiting, done.lost)
        again = Spool(folder)
        assert [1, 3, 4] == numbers(again)
        again.close()

    def test_a_missing_file(self, folder: Path) -> None:
        """Its facts are counted as lost, and the others go on."""
        path = self.stored(folder)[1]
        gone = {w.number for group in readable(path.read_bytes(), int(path.stem)) for w in unpack(group)}
        path.unlink()
        assert "mend-spool" in self.refused(folder)
        assert (9 - len(gone), len(gone), ()) == ((done := mend(folder)).waiting, done.lost, done.aside)
        spool = Spool(folder)
        assert [n for n in range(1, 10) if n not in gone] == numbers(spool)
        spool.close()

    def test_what_was_acknowledged(self, folder: Path) -> None:
        """It is neither sent again nor called lost."""
        for path in self.stored(folder, acked=5)[:2]:
            bent = self.bend(path, 0)
        done = mend(folder)
        spool = Spool(folder)
        assert ([n for n in range(6, 10) if n != bent], int(bent > 5)) == (numbers(spool), done.lost)
        spool.close()

    def test_a_crash_between(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wherever it ends, mending again has every fact that could be read."""
        bent = self.bend(self.stored(folder)[1], 1)
        for call in ("rename", "unlink"):
            with monkeypatch.context() as patch, pytest.raises(SpoolUnwritable):
                patch.setattr(Path, call, lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
                mend(folder)
        mend(folder)
        spool = Spool(folder)
        assert set(range(1, 10)) - {bent} == set(numbers(spool))
        spool.close()
        assert {0o600} == {p.stat().st_mode & 0o777 for p in folder.iterdir() if p.is_file()}

    def test_a_text_that_looks_like_a_group(self, folder: Path) -> None:
        """What a fact says is never taken for facts, when its own group does not check."""
        spool = Spool(folder)
        inner = b"".join(pack(2, [fact(99)]))
        spool.append([fact(1)])
        spool.append([replace(fact(2), body=inner + b"end")])
        spool.append([fact(3)])
        spool.close()
        path = next(folder.glob("*.facts"))
        data = path.read_bytes()
        path.write_bytes(data.replace(b"end", b"and"))
        mend(folder)
        again = Spool(folder)
        assert [1, 3] == numbers(again)
        again.close()

    def test_a_crash_at_each_step(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until it is done no client opens the spool; the second run says what an undisturbed one says; no fact waits twice."""
        paths = self.stored(folder / "before")
        for path in (paths[1], paths[3]):
            self.bend(path, 0)
        paths[2].unlink()
        shutil.copytree(folder / "before", folder / "whole")
        told = self.told(mend(folder / "whole"))
        assert (5, 4, False, [paths[1].stem, paths[3].stem]) == told
        for step in range(20):
            place = shutil.copytree(folder / "before", folder / str(step))
            with monkeypatch.context() as patch:
                self.crash(patch, step)
                with contextlib.suppress(Crash):
                    mend(place)
                    break
            self.refused(place)
            assert (step, told) == (step, self.told(mend(place)))
            spool = Spool(place)
            assert [1, 2, 4, 8, 9] == numbers(spool)
            spool.close()
            assert not [*place.glob("*.new"), *place.glob("mending")]
        assert 10 < step < 19

    @staticmethod
    def told(done: Mended) -> tuple[int, int, bool, list[str]]:
        """What is said of a mending, wherever the folder is."""
        return done.waiting, done.lost, done.open_end, [path.stem for path in done.aside]

    @staticmethod
    def crash(patch: pytest.MonkeyPatch, step: int, *instead: OSError) -> None:
        """The process dies before its step of that number that changes the disk for good, or has these errors there."""
        planned = chain(repeat(None, step), instead or repeat(Crash()))

        def until(call: Callable[..., Any]) -> Callable[..., Any]:
            def does(*args: Any) -> Any:
                if (error := next(planned, None)) is not None:
                    raise error
                return call(*args)

            return does

        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "unlink")):
            patch.setattr(owner, name, until(getattr(owner, name)))

    def test_a_mending_that_came_to_nothing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its word is there and what it wrote is not: the folder is read anew, also after a crash of that."""
        self.bend(self.stored(folder)[1], 0)
        (folder / "mending").write_text('{"first": 11, "waiting": 1, "lost": 0, "open_end": false, "bent": []}')
        with monkeypatch.context() as patch, pytest.raises(Crash):
            self.crash(patch, 2)  # the draft is written and not on the disk
            mend(folder)
        assert (8, 1) == ((done := mend(folder)).waiting, done.lost)

    def test_a_full_disk(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was begun is removed, nothing else is changed, and the disk's own word is told."""
        self.bend(self.stored(folder)[1], 0)
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        full, other = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EIO, "no")
        for step in (1, 2, 3):
            with monkeypatch.context() as patch, pytest.raises(SpoolUnwritable, match="No space left"):
                self.crash(patch, step, full)
                mend(folder)
            assert (step, before) == (step, {p.name: p.read_bytes() for p in folder.iterdir()})
        with monkeypatch.context() as patch, pytest.raises(SpoolUnwritable, match="No space left"):
            self.crash(patch, 1, full, other)
            mend(folder)
        assert (8, 1) == self.told(mend(folder))[:2]

    @pytest.mark.parametrize("size", [1, 30, 60])
    def test_an_end_that_cannot_be_counted(self, folder: Path, size: int) -> None:
        """Damage at the very end, torn or changed: how many facts it was is not known, and that is said."""
        path = self.stored(folder)[-1]
        data = path.read_bytes()
        path.write_bytes(data + data[:size])
        assert (9, 0, True) == self.told(mend(folder))[:3]
        assert (9, 0, False) == self.told(mend(folder))[:3]

    def test_a_last_file_that_cannot_be_read(self, folder: Path) -> None:
        """Nothing of it is left to count by."""
        path = self.stored(folder)[-1]
        path.write_bytes(b"\0" * 50)
        assert (8, 0, True) == self.told(mend(folder))[:3]

    def test_another_folder(self, tmp_path: Path) -> None:
        """Nothing is made or changed where no spool is."""
        tmp_path.chmod(0o755)
        with pytest.raises(SpoolError, match="no spool file"):
            mend(tmp_path)
        assert (0o755, []) == (tmp_path.stat().st_mode & 0o777, list(tmp_path.iterdir()))


class TestDamagedHeads:
    """Which groups are read behind a head that is damaged: every one that was written, none that is a fact's text."""

    FIELDS: ClassVar = {"magic": 0, "length": 1, "crc": 2, "number": 3, "facts": 4}

    @staticmethod
    def stored(folder: Path, texts: Mapping[int, bytes], last: int = 5) -> Path:
        """Facts from 1 to `last`, each in a group of its own, in one file."""
        spool = Spool(folder)
        for number in range(1, last + 1):
            spool.append([replace(fact(number), body=texts.get(number, b"text"))])
        spool.close()
        return next(folder.glob("*.facts"))

    def damage(self, path: Path, which: int, field: str, value: object) -> None:
        """Change a field in the head of the group with that number."""
        data = bytearray(path.read_bytes())
        at = self.places(data)[which]
        head = list(HEAD.unpack_from(data, at))
        head[self.FIELDS[field]] = value
        HEAD.pack_into(data, at, *head)
        path.write_bytes(data)

    @staticmethod
    def places(data: bytes) -> list[int]:
        """Where each group begins, by its number, and the end."""
        at, found = 0, [-1]
        while at < len(data):
            found.append(at)
            at += HEAD.size + HEAD.unpack_from(data, at)[1]
        return [*found, at]

    @staticmethod
    def mended(folder: Path) -> tuple[list[int], int]:
        """What waits after mending, and how many are told as lost."""
        done = mend(folder)
        spool = Spool(folder)
        found = numbers(spool)
        spool.close()
        assert len(found) == done.waiting
        return found, done.lost

    @pytest.mark.parametrize("to", [3, 4, 5, 6])
    def test_a_length_that_leads_to_a_later_group(self, folder: Path, to: int) -> None:
        """Or to the end: the groups between are read."""
        path = self.stored(folder, {})
        at = self.places(path.read_bytes())
        self.damage(path, 2, "length", at[to] - at[2] - HEAD.size + (to == 3))
        assert ([1, 3, 4, 5], 1) == self.mended(folder)

    def test_one_that_leads_to_the_end_and_more(self, folder: Path) -> None:
        """The group behind it is damaged too: what goes on from there is read all the same."""
        path = self.stored(folder, {})
        at = self.places(path.read_bytes())
        self.damage(path, 3, "crc", 7)
        self.damage(path, 2, "length", at[6] - at[2] - HEAD.size)
        assert ([1, 4, 5], 2) == self.mended(folder)

    def test_two_of_them(self, folder: Path) -> None:
        """What lies between two damaged heads is read as well."""
        path = self.stored(folder, {}, 7)
        at = self.places(path.read_bytes())
        self.damage(path, 4, "length", at[6] - at[4] - HEAD.size)
        data = bytearray(path.read_bytes())
        data[at[2] + 4 : at[2] + 8] = (at[5] - at[2] - HEAD.size).to_bytes(4, "big")
        path.write_bytes(data)
        assert ([1, 3, 5, 6, 7], 2) == self.mended(folder)

    @pytest.mark.parametrize("lost", [range(2, 3), range(2, 5), range(1, 6)])
    def test_a_stretch_of_nothing(self, folder: Path, lost: range) -> None:
        """Zeros over the heads of some groups, and at the end as after a loss of power: what is between is read."""
        path = self.stored(folder, {}, 8)
        data = bytearray(path.read_bytes())
        at = self.places(data)
        begin, end = at[lost.start] + 2, at[lost.stop] - 2
        data[begin:end] = bytes(end - begin)
        path.write_bytes(data + bytes(100))
        assert ([n for n in range(1, 9) if n not in lost], len(lost)) == self.mended(folder)

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_whatever_is_damaged(self, data: st.DataObject) -> None:
        """Bytes changed in any places, pieces cut out: each group that is still there is read, and nothing else (I1)."""
        groups = [next(pack(number, [fact(number, number)])) for number in range(1, data.draw(st.integers(1, 12)) + 1)]
        whole = list(enumerate(groups, 1))
        for _ in range(data.draw(st.integers(1, 4))):
            which = data.draw(st.integers(0, len(groups) - 1))
            group = groups[which]
            at = data.draw(st.integers(0, len(group)))
            fresh = data.draw(st.binary(max_size=12) | st.just(b"\xff\xff\xff\xff") | st.just(MAGIC))
            groups[which] = group[:at] + fresh + group[at + len(fresh) * data.draw(st.integers(0, 2)) :]
        left = [number for number, group in whole if group in groups[number - 1]]
        for upto in (None, len(groups) + 1):
            assert left == [group.first for group in readable(b"".join(groups), 1, upto)]

    CHANGES: ClassVar = [("magic", b"SLg0"), ("length", 7), ("length", 10_000), ("crc", 7), ("number", 7), ("facts", 7)]

    @pytest.mark.parametrize("inner", [[1], [3], [4], [50, 51, 52]])
    @pytest.mark.parametrize(("field", "value"), CHANGES)
    def test_a_text_like_groups(self, folder: Path, field: str, value: object, inner: list[int]) -> None:
        """Within a fact whose group has a damaged head: it is none of the facts, and hides none."""
        self.damage(self.stored(folder, {2: self.text(inner)}), 2, field, value)
        assert ([1, 3, 4, 5], 1) == self.mended(folder)

    @pytest.mark.parametrize(("field", "value"), CHANGES)
    def test_a_text_like_its_own_group(self, folder: Path, field: str, value: object) -> None:
        """With the very number that is missing: what is left of the head tells that the number is its own."""
        self.damage(self.stored(folder, {2: self.text([2])}), 2, field, value)
        assert ([1, 3, 4, 5], 1) == self.mended(folder)

    @pytest.mark.parametrize("upto", [None, 4, 5])
    def test_a_text_in_a_group_of_two(self, upto: int | None) -> None:
        """It has the number of the second: the damaged head says that this is its own, and the next group or file agrees."""
        after = [] if upto == 4 else pack(4, [fact(4)])
        data = bytearray(b"".join([*pack(1, [fact(1)]), *pack(2, [fact(2), replace(fact(3), body=self.text([3]))]), *after]))
        at = data.index(MAGIC, 1)
        data[at + 4 : at + 8] = (7).to_bytes(4, "big")
        assert [1, 4][: 1 + bool(after)] == [group.first for group in readable(bytes(data), 1, upto)]

    @staticmethod
    def text(inner: list[int]) -> bytes:
        """What looks like groups of these numbers, as a piece of a spool file copied into a report would."""
        return b"".join(group for number in inner for group in pack(number, [fact(90 + number)])) + b"end"

    @pytest.mark.parametrize("inner", [[1], [2], [50, 51, 52]])
    @pytest.mark.parametrize(("field", "value"), [change for change in CHANGES if change != ("length", 7)])
    def test_a_text_like_groups_at_the_end(self, folder: Path, field: str, value: object, inner: list[int]) -> None:
        """The same of the last group."""
        self.damage(self.stored(folder, {2: self.text(inner)}, 2), 2, field, value)
        assert ([1], 0) == self.mended(folder)

    def test_a_text_like_groups_in_a_group_that_checks(self, folder: Path) -> None:
        """It goes out as the text it is."""
        self.damage(self.stored(folder, {2: self.text([3]), 4: self.text([3, 5])}), 3, "crc", 7)
        assert ([1, 2, 4, 5], 1) == self.mended(folder)
