"""What `sightline status` says for people, and what it calls trouble."""

from __future__ import annotations

from infra.figures import lines, troubles

LEDGER = {
    "number": 12_345, "relayed": 12_300, "relay_age_s": 4.2, "incarnation": 2, "children": 1_000, "facts": 12_000,
    "dead_letters": {"police": 3, "csc": 1},
}  # fmt: skip
BEHIND = {"behind": 7, "late": 0, "partitions": [{"topic": "facts.police", "partition": 1, "behind": 7, "late": 0}]}


class TestLines:
    """For people: no braces, numbers that can be read."""

    def test_at_work(self) -> None:
        """What waits, where, and for how long."""
        assert [
            "Ledger: 12,345 entries, 45 on their way for 4 s (incarnation 2)",
            "Views: 1,000 children, 12,000 facts. Dead letters: csc 1, police 3",
            "Intake: 7 records to be decided (facts.police[1] 7)",
        ] == lines({"ledger": LEDGER, "lag": BEHIND})

    def test_at_rest(self) -> None:
        """Nothing waits."""
        at_rest = LEDGER | {"relayed": 12_345, "dead_letters": {}}
        found = lines({"ledger": at_rest, "lag": {"behind": 0, "late": 0, "partitions": []}})
        assert "all in the topic" in found[0]
        assert "Dead letters: none" in found[1]
        assert "Intake: everything is decided" == found[2]

    def test_what_cannot_be_had(self) -> None:
        """Is trouble, and no line."""
        found: dict[str, object] = {"ledger": "unavailable (OperationalError)", "lag": BEHIND}
        assert 1 == len(lines(found))
        assert ["ledger: unavailable (OperationalError)"] == troubles(found)
