"""The ledger on disk: what was appended is read, and damage never passes for records."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers import archive as archiving
from consumers.archive import MANIFEST, Archive, ArchiveBusy, ArchiveDamaged, ArchiveError, ArchiveMissing, Record
from consumers.ledger import LedgerGap, headers, numbered, read_record

BYTES = st.binary(max_size=60)
CONTENTS = st.lists(
    st.tuples(
        st.integers(-1, 2**62), st.none() | BYTES, st.none() | BYTES, st.lists(st.tuples(st.text(max_size=8), BYTES), max_size=4)
    ),
    max_size=20,
)


def records(count: int, first: int = 0) -> list[Record]:
    """Plain records as the relay sends them."""
    return [
        Record(n, 1_000 + n, None, f"entry {n}".encode(), tuple(headers("LedgerEntry", 1, 1, n + 1)))
        for n in range(first, first + count)
    ]


class TestRoundtrip:
    """What is appended is read, in order."""

    @settings(deadline=None, max_examples=60)
    @given(CONTENTS, st.integers(1, 400), st.integers(0, 20), st.integers(1, 100))
    def test_any_records_in_any_number_of_backups(
        self, contents: list[tuple[int, bytes, bytes, list[tuple[str, bytes]]]], size: int, cut: int, block: int
    ) -> None:
        """Keys, values and headers of any bytes or none; any size of a segment; two backups hold what one would; however much is
        read at a time.
        """
        given_ = [Record(n, at, key, value, tuple(head)) for n, (at, key, value, head) in enumerate(contents)]
        with tempfile.TemporaryDirectory() as folder:
            archive = Archive.create(Path(folder) / "ledger")
            assert len(given_[:cut]) == archive.append(given_[:cut], size)
            assert len(given_[cut:]) == Archive.create(archive.folder).append(given_[cut:], size)
            again = Archive(archive.folder)
            assert given_ == list(again.records())
            with patch.object(archiving, "BLOCK_BYTES", block):
                assert given_ == list(again.records())
            assert given_[cut:] == list(again.records(cut))
            assert given_[-1:] == ([again.last()] if given_ else [])
            assert len(given_) == again.verify().records == again.end

    def test_headers_of_one_length(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other names, other lengths within, or none, are told apart where all headers together are as long."""
        monkeypatch.setattr(archiving, "_known", {})
        heads = [
            (("ab", b"c"), ("d", b"ef")),
            (("ab", b"c"), ("d", b"yz")),
            (("ab", b"x"), ("d", b"yz")),
            (("de", b"c"), ("a", b"ef")),
            (("a", b"bc"), ("", b"def")),
            (("a", b"bc"), ("def", b"")),
        ]
        given_ = [Record(n, 0, None, b"", head) for n, head in enumerate(heads * 2)]
        archive = Archive.create(tmp_path)
        archive.append(given_)
        assert given_ == list(archive.records())

    def test_headers_of_any_number_of_lengths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is remembered of them stays within its bound."""
        monkeypatch.setattr(archiving, "_known", {})
        monkeypatch.setattr(archiving, "KNOWN_MAX", 2)
        given_ = [Record(n, 0, None, b"", (("a", b"x" * (n % 5)),)) for n in range(20)]
        archive = Archive.create(tmp_path)
        archive.append(given_)
        assert given_ == list(archive.records())
        assert 2 == len(archiving._known)

    def test_an_archive_is_a_ledger(self, tmp_path: Path) -> None:
        """Its records go through the same reader as the topic's: fences hold, and a missing number is a loud stop."""
        archive = Archive.create(tmp_path)
        archive.append(records(3))
        assert [1, 2, 3] == [s.number for s in numbered(read_record(r) for r in archive.records())]
        other = Archive.create(tmp_path / "other")
        other.append([records(1)[0], replace(records(3)[2], offset=1)])
        with pytest.raises(LedgerGap, match="from 1 to 3"):
            list(numbered(read_record(r) for r in other.records()))

    def test_nothing_new_writes_nothing(self, tmp_path: Path) -> None:
        """A second backup without new records leaves the folder as it was."""
        archive = Archive.create(tmp_path)
        archive.append(records(3))
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        assert 0 == archive.append([])
        assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


class TestDamage:
    """Every torn or changed byte is found."""

    @pytest.mark.parametrize("block", [20, 1_000])
    def test_torn_at_any_byte(self, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Segment or manifest, cut anywhere, within what is read at a time or between."""
        monkeypatch.setattr(archiving, "BLOCK_BYTES", block)
        for path in _made(tmp_path):
            whole = path.read_bytes()
            for length in range(len(whole)):
                path.write_bytes(whole[:length])
                with pytest.raises(ArchiveDamaged):
                    Archive(tmp_path).verify()
            path.write_bytes(whole)
        assert 4 == Archive(tmp_path).verify().records

    @pytest.mark.parametrize("block", [20, 1_000])
    def test_changed_at_any_byte(self, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any one bit of a segment; of the manifest any byte that says something."""
        monkeypatch.setattr(archiving, "BLOCK_BYTES", block)
        for path in _made(tmp_path):
            whole = path.read_bytes()
            for at in range(len(whole)):
                changed = bytearray(whole)
                changed[at] ^= 1
                path.write_bytes(changed)
                if path.name == MANIFEST and whole[at : at + 1] in b" \n":
                    continue
                with pytest.raises(ArchiveError):
                    Archive(tmp_path).verify()
            path.write_bytes(whole)

    def test_missing_or_exchanged_segment(self, tmp_path: Path) -> None:
        """A segment that is gone, or in another's place, is named."""
        first, second, _ = _made(tmp_path)
        kept = first.read_bytes()
        shutil.copy(second, first)
        with pytest.raises(ArchiveDamaged, match=first.name):
            Archive(tmp_path).verify()
        first.unlink()
        with pytest.raises(ArchiveDamaged, match=f"{first.name} is missing"):
            Archive(tmp_path).verify()
        first.write_bytes(kept)
        assert 4 == Archive(tmp_path).verify().records

    def test_the_last_record_alone(self, tmp_path: Path) -> None:
        """Torn or changed, and wherever its segment is cut: found. A bit of a record before it is for whoever reads that."""
        archive = Archive.create(tmp_path)
        archive.append(records(3))
        path = tmp_path / archive.segments[0].file
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(ArchiveDamaged):
                archive.last()
        for at in range(len(whole) - len(whole) // 4, len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(ArchiveDamaged):
                archive.last()

    def test_damage_is_found_before_its_record_is_given(self, tmp_path: Path) -> None:
        """Records before the damage come out, nothing after."""
        _, second, _ = _made(tmp_path)
        data = bytearray(second.read_bytes())
        data[30] ^= 1
        second.write_bytes(data)
        found: list[int] = []
        with pytest.raises(ArchiveDamaged, match="offset 2"):
            found.extend(r.offset for r in Archive(tmp_path).records())
        assert [0, 1] == found


class TestCrash:
    """A backup that ends anywhere leaves an archive that a later one completes."""

    def test_source_fails_in_mid_stream(self, tmp_path: Path) -> None:
        """Complete segments stay; the next backup goes on after them."""
        archive = Archive.create(tmp_path)

        def failing() -> list[Record]:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            archive.append(chain(records(5), (r for _ in [0] for r in failing())), 100)
        again = Archive.create(tmp_path)
        assert 0 < again.verify().records < 6
        again.append(records(6)[again.end :])
        assert records(6) == list(Archive(tmp_path).records())

    def test_segment_that_no_manifest_names(self, tmp_path: Path) -> None:
        """A crash after the segment and before the manifest: the segment is written again."""
        archive = Archive.create(tmp_path)
        archive.append(records(2))
        before = (tmp_path / MANIFEST).read_bytes()
        archive.append(records(2, 2))
        (tmp_path / MANIFEST).write_bytes(before)
        again = Archive(tmp_path)
        assert 2 == again.end
        again.append(records(3, 2))
        assert records(5) == list(Archive(tmp_path).records())


class TestRefused:
    """What an archive does not take."""

    def test_records_that_do_not_follow(self, tmp_path: Path) -> None:
        """A gap in the offsets is refused."""
        archive = Archive.create(tmp_path)
        archive.append(records(2))
        with pytest.raises(ArchiveError, match="from offset 1 to 3"):
            archive.append(records(1, 3))
        assert records(2) == list(Archive(tmp_path).records())

    def test_folders(self, tmp_path: Path) -> None:
        """No archive, and a folder of something else."""
        with pytest.raises(ArchiveMissing):
            Archive(tmp_path)
        (tmp_path / "letter.txt").write_text("x")
        with pytest.raises(ArchiveError, match="not empty"):
            Archive.create(tmp_path)

    def test_two_at_once(self, tmp_path: Path) -> None:
        """While one backup writes, another is turned away."""
        archive = Archive.create(tmp_path)

        def meanwhile() -> list[Record]:
            Archive(tmp_path).append(records(1))
            return []

        with pytest.raises(ArchiveBusy):
            archive.append(r for _ in [0] for r in meanwhile())


def _made(folder: Path) -> list[Path]:
    """Two segments of two records, and the manifest."""
    archive = Archive.create(folder)
    archive.append(records(2))
    archive.append(records(2, 2))
    return [*sorted(p for p in folder.iterdir() if p.suffix == ".segment"), folder / MANIFEST]
