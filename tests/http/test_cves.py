"""The forgeries of `tests.security.replays` as client assertions over HTTP, and CVEs of authorization servers."""

import secrets
import shutil
from collections.abc import Iterator

import pytest

from tests.http.raw import CRM, LOCAL, Cast, World, details, now
from tests.http.test_attacks import SOURCES
from tests.security.replays import REPLAYS, Replay

TYP = "client-authentication+jwt"
OPEN = (
    ("wire/jws.py", "if alg is None or alg not in algorithms:", "if alg is None:"),
    ("wire/jws.py", "if not _CHANGES_MEANING.isdisjoint(members):", "if False:"),
    ("wire/jws.py", "if only_known and (header.others or header.jwk is not None):", "if False:"),
    ("wire/jws.py", "if header.alg != key.alg or not key.verify(signature, signed):", "if False:"),
    ("wire/jws.py", "MAX_READ: Final = 16 * 1024", "MAX_READ: Final = 16 * 1024 * 1024"),
    ("wire/claims.py", 'if claims.get("iss") != issuer:', "if False:"),
    ("wire/self_signed.py", "return key if header.kid in {None, key.kid} else None", "return key"),
    ("authority/visible.py", "    return told if mine else INACTIVE", "    return told"),
)
by_cve = pytest.mark.parametrize("replay", REPLAYS, ids=lambda replay: replay.cve)


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """A server of a copy without any of these rules."""
    folder = tmp_path_factory.mktemp("cves")
    copy = folder / "src"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text, other in OPEN:
        path = copy / "deputize" / name
        whole = path.read_text(encoding="utf-8")
        assert whole.count(text) == 1, (name, text)
        path.write_text(whole.replace(text, other), encoding="utf-8")
    world = World.begin(folder, sources=copy)
    yield Cast.of(world)
    world.end()


def taken(cast: Cast, replay: Replay) -> set[int]:
    """What a server answers to somebody who knows the boss's identity and public key, and forges its assertion."""
    at, boss = int(now()), cast.boss
    found = set()
    claims = {"iss": boss.sub, "sub": boss.sub, "aud": cast.world.base, "iat": at, "exp": at + 50}
    for shown in replay.forge(TYP, {**claims, "jti": secrets.token_hex()}, boss.key):
        fields = [(name, shown if name == "client_assertion" else value) for name, value in boss.credentials()]
        found.add(boss.send("/registry", {}, credentials=fields, proofs=()).status_code)
    return found


@pytest.mark.requirement("CA-02", "CA-05", "JW-01", "JW-02", "JW-05", "I16")
@by_cve
def test_a_forged_assertion_authenticates_nobody(cast: Cast, replay: Replay) -> None:
    size = cast.world.size()
    assert taken(cast, replay) <= {400, 401}
    assert not cast.world.since(size)


@by_cve
def test_it_does_where_the_rules_are_taken_out(weak: Cast, replay: Replay) -> None:
    assert 200 in taken(weak, replay)


def _told_elsewhere(cast: Cast) -> bool:
    """Whether the server of another resource is told of a token that is not for it."""
    access = cast.reader.access(cast.reader.root(rights=details({CRM: ["crm:read"], LOCAL: ["tool:search"]})))
    assert cast.crm.introspect(access)["active"] is True
    return bool(cast.wiki.introspect(access)["active"])


@pytest.mark.requirement("IN-02", "IN-04", "A-05")
def test_introspection_by_another_resource_tells_nothing(cast: Cast) -> None:
    """CVE-2026-37979 (Keycloak): introspection did not look at the audience."""
    assert not _told_elsewhere(cast)


def test_introspection_by_another_resource_tells_all_where_the_rule_is_taken_out(weak: Cast) -> None:
    """CVE-2026-37979."""
    assert _told_elsewhere(weak)


@pytest.mark.requirement("A-08", "I3")
def test_no_parameter_turns_on_a_mode_that_is_off(cast: Cast) -> None:
    """CVE-2026-7571 (Keycloak): a parameter of a request started a flow that was disabled."""
    for more in (
        {"deputize_mode": "impersonation"},
        {"deputize_mode": "impersonation", "deputize_reason": "INC-1"},
        {"mode": "impersonation"},
        {"grant_type": "refresh_token", "refresh_token": "x"},
        {"grant_type": "password", "username": "alice", "password": "x"},
        {"grant_type": "authorization_code", "code": "x"},
    ):
        token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
        answer = cast.reader.send("/token", cast.reader.access_fields(token, **more))
        if answer.status_code == 200:  # a parameter that nobody knows changes nothing
            told = cast.crm.introspect(answer.json()["access_token"])
            assert told["act"]["sub"] == cast.reader.sub
            assert more == {"mode": "impersonation"}
        else:
            assert "access_token" not in answer.json()
