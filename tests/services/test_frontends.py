"""Front ends: how many requests they let in."""

from typing import Any
from unittest.mock import Mock

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.services.cell import Topic
from ollama_proxyd.services.frontends import Frontends
from tests.fakes import FakeClock


def test_a_request_counts_that_ends_while_its_front_end_is_out_of_the_file() -> None:
    ledger, kiosk = Mock(outcomes=Topic[Any]()), Frontend("kiosk")
    frontends = Frontends(FakeClock(), ledger, Mock())
    frontends.reconfigure([FrontendSettings(kiosk)])
    frontends.reconfigure([])
    ledger.outcomes.publish(Mock(hints=Hints(frontend=kiosk), error=None))
    frontends.reconfigure([FrontendSettings(kiosk)])
    assert [each.requests for each in frontends.status()] == [1]


def test_a_reload_takes_nothing_of_what_a_limit_let_in_meanwhile() -> None:
    clock = FakeClock()
    frontends = Frontends(clock, Mock(), Mock())
    settings = FrontendSettings(Frontend("kiosk"), requests_per_minute=1)
    frontends.reconfigure([settings])
    frontends.admit("kiosk")
    clock.advance(59.0)
    frontends.reconfigure([settings])
    with pytest.raises(ProxyError, match=r"try again in 1\.0 s"):
        frontends.admit("kiosk")
    clock.advance(1.0)
    frontends.admit("kiosk")
