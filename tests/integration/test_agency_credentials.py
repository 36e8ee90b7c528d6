"""An agency's system gets its password by command, a new one when asked, and none after it is revoked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from infra import agencies
from infra.errors import AccessError, ProvisionError
from infra.handshake import check_access
from infra.provision import provision
from schemas.topics import KafkaAccess, topics
from tests.services import Deployment


class TestOutside:
    """What is handed over works, and only the newest of it."""

    def test_issued_rotated_revoked(self, deployment: Deployment) -> None:
        """Each new password ends the one before; a start of the house does not bring an old one back."""
        settings = deployment.settings
        first = agencies.issue(settings, "education")
        check_access(first.access)
        told = dict(first.lines())
        assert (settings.bootstrap, f"{settings.prefix}agency.education") == (told["bootstrap"], told["user"])
        assert (f"{settings.prefix}facts.education", settings.secret("agency.education.key")) == (
            told["writes"],
            told["key secret"],
        )
        assert first.access.password not in repr(first)
        second = agencies.issue(settings, "education")
        assert first.key_secret == second.key_secret
        check_access(second.access)
        provision(settings.admin(), settings.prefix, topics(), settings.passwords())
        check_access(second.access)
        with pytest.raises(AccessError, match="refuses"):
            check_access(replace(second.access, password=first.access.password))

    def test_a_broker_that_has_it_later(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        """The command ends when the broker takes the new password; where it does not, the command says so, and what to do."""
        refused: list[str] = []

        def refuses(times: int) -> Callable[[KafkaAccess], None]:
            def check(access: KafkaAccess) -> None:
                if len(refused) < times:
                    refused.append(access.password)
                    raise AccessError("refuses")
                check_access(access)

            return check

        monkeypatch.setattr(agencies, "check_access", refuses(2))
        told = agencies.issue(deployment.settings, "education")
        assert [told.access.password] * 2 == refused
        monkeypatch.setattr(agencies, "IN_FORCE_S", 0.05)
        monkeypatch.setattr(agencies, "check_access", refuses(1_000))
        with pytest.raises(ProvisionError, match="say it again") as caught:
            agencies.issue(deployment.settings, "education")
        assert len(refused) > 3 and not any(password in str(caught.value) for password in refused)
