"""Check digits against the vectors of domain.md §3a and 3d, and against the shipped code list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import identifiers as ids
from schemas.codes import code_lists


class TestNhsNumber:
    """Modulus 11, and what is typed for "not known"."""

    @pytest.mark.parametrize("number", ["9990000018", "9990000026", "9990000034", "9990000042", "9990000050", "9912003888"])
    def test_valid(self, number: str) -> None:
        """The test numbers of domain.md are accepted, spaced or not."""
        assert number == ids.nhs_number(number) == ids.nhs_number(f" {number[:3]} {number[3:6]}-{number[6:]} ")

    @pytest.mark.parametrize(
        "number", ["9912003899", "1111111111", "0000000000", "999000001", "99900000180", "٩٩٩٠٠٠٠٠١٨", "", None]
    )
    def test_invalid(self, number: str | None) -> None:
        """Wrong check digits, placeholders, wrong lengths and digits of other scripts are not."""
        assert ids.nhs_number(number) is None

    def test_check_of_ten(self) -> None:
        """A body whose check would be 10 has no valid number at all."""
        assert all(ids.nhs_number(f"999000000{d}") is None for d in range(10))

    @given(st.integers(0, 999_999_999), st.integers(1, 9), st.integers(0, 9))
    def test_one_wrong_digit_is_seen(self, body: int, change: int, at: int) -> None:
        """Modulus 11 sees every single mistyped digit."""
        good = [n for n in (f"{body:09}{d}" for d in range(10)) if ids.nhs_number(n)]
        assert len(good) <= 1
        for number in good:
            wrong = number[:at] + str((int(number[at]) + change) % 10) + number[at + 1 :]
            assert ids.nhs_number(wrong) is None


class TestUpn:
    """Check letters of permanent and temporary numbers."""

    @pytest.mark.parametrize("number", ["X876200118001", "T876999919001", "B801200005001"])
    def test_valid(self, number: str) -> None:
        """Permanent numbers with the right check letter, in either case."""
        assert number == ids.upn(number.lower())
        assert not ids.upn_is_temporary(number)

    @pytest.mark.parametrize(
        "number", ["B207000016049", "A801200005001", "X80120000A001", "X8762001180O1", "I876200118001", "UN1", None]
    )
    def test_invalid(self, number: str | None) -> None:
        """A wrong check letter, letters within, letters never used."""
        assert ids.upn(number) is None

    def test_temporary(self) -> None:
        """A temporary number's last letter counts by its place in the table: A as 0, so swapping 0 for A keeps the check."""
        base = next(f"{c}80120000500" for c in ids.UPN_LETTERS if ids.upn(f"{c}801200005000"))
        assert ids.upn(base + "A") == base + "A"
        assert ids.upn_is_temporary(base + "A")
        assert ids.upn(base + "B") is None


class TestPnc:
    """Long and short forms."""

    @pytest.mark.parametrize(
        ("typed", "full"),
        [
            ("2019/0000001P", "2019/0000001P"), ("2019/0000002Q", "2019/0000002Q"), ("2019/0123456E", "2019/0123456E"),
            ("19/1p", "2019/0000001P"), ("2019/123456E", "2019/0123456E"), ("20190000002Q", "2019/0000002Q"),
        ],
    )  # fmt: skip
    def test_valid(self, typed: str, full: str) -> None:
        """Long and short forms give the same normal form."""
        assert full == ids.pnc(typed)

    @pytest.mark.parametrize("typed", ["2019/0000001Q", "2019/00000001P", "P", "2019/P", None])
    def test_invalid(self, typed: str | None) -> None:
        """Wrong letter, serial too long, nothing there."""
        assert ids.pnc(typed) is None


class TestOthers:
    """Numbers without a check digit."""

    def test_la_child_id(self) -> None:
        """Needs its authority, since another authority may use the same number."""
        assert ids.la_child_id(" 876-ab 12 ") == "876-AB12"
        assert ids.la_child_id("123456") is None
        assert ids.la_child_id("876-" + "1" * 21) is None

    def test_ods(self) -> None:
        """Forms only."""
        assert (ids.ods("rbn 01"), ids.practice_ods("n81001"), ids.practice_ods("RBN01")) == ("RBN01", "N81001", None)


class TestSnomed:
    """Verhoeff, and the namespace behind it."""

    def test_every_shipped_code(self) -> None:
        """Every code that may be sent to a practice is a real concept id."""
        codes = code_lists()["snomed"].codes
        assert [] == [code for code in codes if not ids.snomed_ok(code)]
        assert len(codes) >= 15

    @pytest.mark.parametrize(
        "code", ["104586100000100", "80228000000103", "80231100000100", "83688100000010５", "836881000000106", "0", ""]
    )
    def test_bad_codes_of_published_lists(self, code: str) -> None:
        """Two fail the check digit, one has a wrong namespace (domain.md §3d)."""
        assert not ids.snomed_ok(code)

    def test_dropped_digit_passes_the_check_digit_alone(self) -> None:
        """Why the namespace is looked at: this one fools Verhoeff."""
        assert ids.verhoeff("80231100000100")


class TestNames:
    """Names as they are compared."""

    @pytest.mark.parametrize(
        ("typed", "plain"),
        [
            ("  O’Brien-SMITH ", "obrien smith"), ("José  María", "jose maria"), ("Łukasz Żółć", "lukasz zolc"),
            ("Straße", "strasse"), ("Oﬃce", "office"), ("Ægir", "aegir"), ("İbrahim", "ibrahim"), ("---", ""), ("", ""),
        ],
    )  # fmt: skip
    def test_examples(self, typed: str, plain: str) -> None:
        """Accents, case and punctuation do not tell children apart."""
        assert plain == ids.normalised_name(typed)

    @given(st.text(max_size=60))
    def test_idempotent(self, text: str) -> None:
        """Normalising twice changes nothing."""
        once = ids.normalised_name(text)
        assert once == ids.normalised_name(once)
        assert once == once.strip()
