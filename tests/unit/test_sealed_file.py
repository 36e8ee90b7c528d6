"""The encrypted file of `keep`: what went in comes out, and nothing else ever does."""

from __future__ import annotations

import os
import stat
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import sealed_file
from infra.sealed_file import CHUNK_BYTES, HEADER_BYTES, BackupRefused

MASTER = bytes(range(32))
AT = 1_767_225_600_000_000


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three chunks in a hundred bytes, so that every byte can be tried."""
    monkeypatch.setattr(sealed_file, "CHUNK_BYTES", 40)


class TestRoundtrip:
    """What is written is read."""

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.binary(max_size=300), max_size=12), st.integers(1, 90))
    def test_any_bytes_in_any_pieces(self, pieces: list[bytes], chunk: int) -> None:
        """However the data arrives, and whatever the size of a chunk, the same bytes come back."""
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sealed_file, "CHUNK_BYTES", chunk)
            path = Path(folder) / "keep.backup"
            size = sealed_file.write(path, MASTER, pieces, AT)
            assert path.stat().st_size == size
            assert sealed_file.check(path, MASTER).created_at == AT
            assert b"".join(sealed_file.read(path, MASTER)) == b"".join(pieces)

    def test_full_chunks(self, tmp_path: Path) -> None:
        """Exactly two chunks of the real size, and one byte more."""
        for size in (2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1):
            path = tmp_path / str(size)
            data = os.urandom(size)
            sealed_file.write(path, MASTER, [data], AT)
            assert data == b"".join(sealed_file.read(path, MASTER))

    def test_nothing_is_in_the_clear(self, tmp_path: Path) -> None:
        """The bytes are not in the file, twice the same gives other bytes, and only the owner may read it."""
        one, two = tmp_path / "one", tmp_path / "two"
        for path in (one, two):
            sealed_file.write(path, MASTER, [b"a child's name" * 9], AT)
        assert b"child" not in one.read_bytes()
        assert one.read_bytes()[HEADER_BYTES:] != two.read_bytes()[HEADER_BYTES:]
        assert 0o600 == stat.S_IMODE(one.stat().st_mode)


@pytest.mark.usefixtures("small_chunks")
class TestRefused:
    """Each in one clear line."""

    def test_torn_at_any_byte(self, tmp_path: Path) -> None:
        """However much of the end is missing."""
        path = _written(tmp_path)
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(BackupRefused) as refused:
                sealed_file.check(path, MASTER)
            assert 1 == len(str(refused.value).splitlines())

    def test_changed_at_any_byte(self, tmp_path: Path) -> None:
        """Header, check, lengths, data, tags: no byte may differ, also for someone who mends the SHA-256."""
        path = _written(tmp_path)
        whole = path.read_bytes()
        for at in range(len(whole)):
            changed = bytearray(whole)
            changed[at] ^= 0x40
            path.write_bytes(changed)
            with pytest.raises(BackupRefused):
                sealed_file.check(path, MASTER)
            if not HEADER_BYTES - 32 <= at < HEADER_BYTES:
                with pytest.raises(BackupRefused):
                    list(sealed_file.read(path, MASTER))

    def test_chunks_left_out_or_moved(self, tmp_path: Path) -> None:
        """Whole chunks that are dropped, doubled or exchanged do not open, though each is genuine."""
        path = _written(tmp_path)
        whole = path.read_bytes()
        head, chunk = whole[:HEADER_BYTES], 4 + 40 + 16
        bounds = [*range(HEADER_BYTES, len(whole), chunk), len(whole)]
        parts = [whole[a:b] for a, b in pairwise(bounds)]
        assert 3 == len(parts)
        for order in ([0, 1], [0, 2], [1, 0, 2], [0, 1, 2, 2], [0]):
            path.write_bytes(head + b"".join(parts[i] for i in order))
            with pytest.raises(BackupRefused):
                list(sealed_file.read(path, MASTER))

    def test_another_master_key(self, tmp_path: Path) -> None:
        """It is told apart from damage."""
        with pytest.raises(BackupRefused, match="another master key"):
            sealed_file.check(_written(tmp_path), bytes(32))

    def test_foreign_file_and_newer_version(self, tmp_path: Path) -> None:
        """A file of something else, an empty one, one of a later release."""
        path = _written(tmp_path)
        newer = bytearray(path.read_bytes())
        newer[9] += 1
        for data, words in ((b"PGDMP" + bytes(200), "not a backup"), (b"", "not a backup"), (bytes(newer), "version 2")):
            path.write_bytes(data)
            with pytest.raises(BackupRefused, match=words):
                sealed_file.check(path, MASTER)
        with pytest.raises(BackupRefused, match="cannot be read"):
            sealed_file.check(tmp_path / "absent", MASTER)

    def test_never_over_another_file(self, tmp_path: Path) -> None:
        """An older backup is not overwritten; a source that fails leaves nothing behind."""
        path = _written(tmp_path)
        with pytest.raises(BackupRefused, match="exists"):
            sealed_file.write(path, MASTER, [b"x"], AT)

        def failing() -> list[bytes]:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            sealed_file.write(tmp_path / "half", MASTER, (x for _ in [0] for x in failing()), AT)
        assert [path] == list(tmp_path.iterdir())


def _written(folder: Path) -> Path:
    path = folder / "keep.backup"
    sealed_file.write(path, MASTER, [b"0123456789" * 10], AT)
    return path
