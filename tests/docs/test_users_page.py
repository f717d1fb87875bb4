"""docs/users.md against the code: its configuration is one, and its codes are those that come."""

import re
from pathlib import Path

import pytest

from deputize.config.load import load
from deputize.issuers.users import SIGNED_IN_TOO_LONG_AGO, Users
from deputize.issuers.words import MALFORMED, UNKNOWN_ISSUER, WRONG_KIND
from deputize.testing import FakeClock, FakeIssuer
from deputize.wire import refusal
from deputize.wire.foreign_keys import FOREIGN_ALGORITHMS
from deputize.wire.token_exchange import ACCESS_TOKEN, ID_TOKEN
from tools.snippets import blocks
from tools.tree import ROOT

PAGE = (ROOT / "docs" / "users.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (text,) = (block.text for block in blocks(PAGE) if block.language == "toml")
    path = tmp_path / "deputize.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_configuration_of_the_page_is_one(file: Path) -> None:
    (rule,) = load(file).user_rules
    assert (rule.alias, rule.scopes, rule.max_auth_age) == ("corp", "scope", 12 * 3600)


def test_a_user_of_that_configuration_is_proved_by_either_kind(file: Path) -> None:
    clock = FakeClock()
    with FakeIssuer(clock=clock, path="/tenant") as issuer:
        text = file.read_text(encoding="utf-8").replace("https://login.example/tenant", issuer.url)
        file.write_text(text, encoding="utf-8")
        users = Users.of(load(file), clock)
        proved = users.verify(issuer.id_token("u1", "portal"), ID_TOKEN, clock.now())
        token = issuer.access_token("u1", "https://sts.example", scope="crm:read")
        assert proved.user == users.verify(token, ACCESS_TOKEN, clock.now()).user == "corp|u1"


def test_the_page_names_every_code_and_algorithm() -> None:
    named = set(re.findall(r"`([A-Za-z0-9_]+)`", PAGE))
    codes = {MALFORMED, SIGNED_IN_TOO_LONG_AGO, UNKNOWN_ISSUER, WRONG_KIND, refusal.WRONG_TYPE, refusal.WRONG_AUDIENCE}
    assert codes <= named
    assert all(alg in PAGE for alg in FOREIGN_ALGORITHMS)
