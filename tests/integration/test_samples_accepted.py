"""The samples that agencies have, all the way into the ledger: every fact accepted, and the same files again add nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import orjson
import pytest
from click.testing import CliRunner

from infra.command.publish import command as publish
from tests.integration import restoring
from tests.services import Deployment
from tests.shared_data import shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def verdicts(d: Deployment) -> Counter[str]:
    """How many intake records were decided which way, by their entries' outcomes."""
    rows = restoring.rows(d.views_dsn, "select outputs from ledger where outputs is not null")
    sent = [o for r in rows for o in orjson.loads(bytes(r[0])) if o[0].startswith("outcomes.")]
    return Counter(o[3]["verdict"] for o in sent)


def test_twice_adds_nothing(new_deployment: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch) -> None:
    """SSDA903 and CP-IS FHIR, as published and as the command reads them."""
    care, plans = shared("ssda903"), sorted(map(str, shared("cpis-fhir").glob("*.xml")))
    d = new_deployment()
    for name, value in d.environment().items():
        if name.startswith("SIGHTLINE_"):
            monkeypatch.setenv(name, value)

    def send() -> int:
        told = [CliRunner().invoke(publish, ["ssda903", str(care), "--json"])]
        told.append(CliRunner().invoke(publish, ["cpis-fhir", *plans, "--json"]))
        assert [0, 0] == [t.exit_code for t in told], [t.output[-500:] for t in told]
        restoring.settled(d)
        return sum(json.loads(t.stdout)["published"] for t in told)

    with restoring.workers(d):
        first = send()
        assert first > 2761
        assert {"ACCEPTED": first} == verdicts(d)
        facts = restoring.rows(d.views_dsn, "select agency, event_id, number from fact order by 1, 2")
        children = restoring.children(d)
        again = send()
        assert {"ACCEPTED": first, "DUPLICATE": again} == {k: v for k, v in verdicts(d).items() if v}
        assert facts == restoring.rows(d.views_dsn, "select agency, event_id, number from fact order by 1, 2")
        assert children == restoring.children(d)
        assert [] == restoring.rows(d.views_dsn, "select * from letter")
