"""Where the store matters: NUL and surrogates are no server error, and a revocation wins over two replicas."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import orjson
import pytest

from tests.http.raw import CRM, LOCAL, Cast, claims, details

CALL = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}
ODD = ["a\0b", "\0", "\ud800", "\U0010ffff", "\u202e", "'; drop table sessions; --", "%s", "\\", "a" * 256]


@pytest.mark.requirement("I10", "JW-06")
def test_no_text_of_a_client_makes_a_server_error(over_postgres: Cast) -> None:
    cast = over_postgres
    token = cast.reader.root(rights=details({CRM: ["crm:read"], LOCAL: ["tool:search"]}))
    jti = claims(cast.reader.access(token))["jti"]
    seen = []
    for odd in ODD:
        quoted = odd.encode("utf-8", "surrogatepass")
        for name in ("deputize_task", "deputize_key", "deputize_continues", "deputize_tool", "audience", "x"):
            sent = quoted if "\ud800" not in odd else b"\xed\xa0\x80"
            fields = [(key, value) for key, value in cast.boss.root_fields().items() if key != name]
            seen.append(cast.boss.send("/token", [*fields, (name, sent)]))  # type: ignore[list-item]  # bytes as they are
        plain = orjson.dumps(odd) if "\ud800" not in odd else b'"\\ud800"'
        for path, body in (
            ("/calls", b'{"tool":%s,"resource":"urn:deputize:tools","scopes":["tool:search"]}'),
            ("/calls", b'{"tool":"search","resource":"urn:deputize:tools","scopes":["tool:search"],"call_id":%s}'),
            ("/calls", b'{"tool":"search","resource":%s,"scopes":["tool:search"]}'),
            ("/notes", b'{"kind":"tool.finished","outcome":"done","tool":%s}'),
            ("/notes", b'{"kind":"tool.finished","outcome":"done","detail":{"a":%s}}'),
            ("/session/revoke", b'{"reason":"x","sid":%s}'),
        ):
            seen.append(cast.reader.hold(path, token, body % plain))
        report = b'{"jti":%s,"tool":%s,"outcome":"done"}' % (plain, plain)
        seen.append(cast.crm.send("/reports", {"report": report}))  # type: ignore[dict-item]  # bytes as they are
        named = b'{"jti":"%s","tool":%s,"outcome":"done"}' % (jti.encode(), plain)
        seen.append(cast.crm.send("/reports", {"report": named}))  # type: ignore[dict-item]  # as above
    assert {answer.status_code for answer in seen} <= {200, 400, 404}
    assert cast.reader.hold("/calls", token, CALL).status_code == 200


@pytest.mark.requirement("A-11", "I7", "RV-03")
def test_no_exchange_that_is_in_flight_outlives_the_revocation(over_postgres: Cast) -> None:
    cast = over_postgres
    there = replace(cast.reader, at=cast.world.another())
    for _ in range(5):
        token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
        with ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(party.send, "/token", party.access_fields(token)) for party in (cast.reader, there) * 6
            ]
            revoked = pool.submit(cast.reader.hold, "/session/revoke", token, {"reason": "INC-1"})
            assert revoked.result().status_code == 200
            answers = [one.result() for one in asked]
        given = [one.json()["access_token"] for one in answers if one.status_code == 200]
        assert [cast.crm.introspect(access) for access in given] == [{"active": False}] * len(given)
        assert {one.status_code for one in answers} <= {200, 400}


@pytest.mark.requirement("I5", "A-10")
def test_two_replicas_hand_off_no_more_than_the_limit(over_postgres: Cast) -> None:
    cast = over_postgres
    token = cast.boss.root()
    there = replace(cast.boss, at=cast.world.bases[1] if len(cast.world.bases) > 1 else cast.world.another())

    def hand(party: object) -> int:
        sender = cast.boss if party else there
        return sender.send("/token", sender.child_fields(token, cast.reader), prover=cast.reader.key).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(hand, [True, False] * 10))
    assert sorted(statuses) == [200] * 8 + [400] * 12


@pytest.mark.requirement("TX-07", "CA-04", "DP-06", "I16")
def test_refusals_and_replays_are_as_over_a_file(over_postgres: Cast) -> None:
    cast = over_postgres
    token = cast.boss.root()
    used = cast.boss.credentials()
    assert cast.boss.send("/registry", {}, credentials=used, proofs=()).status_code == 200
    size = cast.world.size()
    again = cast.boss.send("/registry", {}, credentials=used, proofs=())
    cast.refused(again, size, status=401, error="invalid_client")
    size = cast.world.size()
    cast.refused(cast.boss.send("/token", cast.boss.access_fields(token)), size, by=cast.boss)
    proof = cast.boss.proof("/session", "GET", token=token)
    assert cast.boss.hold("/session", token, proofs=[proof]).status_code == 200
    assert cast.boss.hold("/session", token, proofs=[proof]).status_code == 401
