"""What an operator asks of a server, by a bearer token of an issuer that `[[operators]]` names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from urllib.parse import quote, urlencode

from deputize.audit.proofs import read_record
from deputize.authority.explain import Explanation, Hop
from deputize.authority.joining import TTL, JoinToken
from deputize.authority.operating import RecordPage, SignedHead, Wanted
from deputize.authority.revocation import Revocation
from deputize.authority.rollout import Applied
from deputize.authority.tree import MAX_DEPTH, SessionTree
from deputize.client.http import Connection, Sending, given
from deputize.client.operator_token import TOKEN_VARIABLE
from deputize.config import Bundle, parse_bundle
from deputize.model.event import Json
from deputize.model.failure import ConfigurationError, Denial, Denied, IntegrityError
from deputize.model.overview import AgentRow, SessionPage, SessionRow
from deputize.model.resource import Right
from deputize.model.revocation import Kind
from deputize.wire.answer import bad_response
from deputize.wire.json_strict import dumps, loads
from deputize.wire.overview_answer import agent_from, list_in, number_in, page_from, session_from, text_in


class Operator:
    """Implements `Operating`. `token` is asked for at each request, so that a renewed one is used."""

    def __init__(self, connection: Connection, token: Callable[[], str | None]) -> None:
        self._connection = connection
        self._token = token

    @property
    def issuer(self) -> str:
        """Whose operator this is."""
        return self._connection.base

    def close(self) -> None:
        """Close the connection, where nobody else uses it."""
        self._connection.close()

    def sessions(
        self, *, user: str | None, agent: str | None, live: bool, limit: int, cursor: int | None = None
    ) -> SessionPage:
        """See Operating."""
        query = {"user": user, "agent": agent, "live": "true" if live else None, "limit": limit, "cursor": cursor}
        return page_from(self.get("/sessions", query))

    def session(self, identifier: str) -> tuple[SessionRow, SessionTree]:
        """See Operating."""
        told = self.get(f"/sessions/{_name(identifier)}")
        return session_from(told.get("session")), SessionTree.from_json(dumps(told.get("tree")))

    def revoke_named(self, identifier: str, *, reason: str) -> Revocation:
        """See Operating."""
        return revocation_from(self.ask(f"/sessions/{_name(identifier)}/revoke", {"reason": reason}))

    def revoke(self, kind: Kind, target: str, *, reason: str) -> Revocation:
        """Revoke one target; dead when this returns."""
        told = self.ask("/revocations/new", {"kind": kind.value, "target": target, "reason": reason})
        return revocation_from(told)

    def agents(self) -> tuple[AgentRow, ...]:
        """See Operating."""
        return tuple(agent_from(row) for row in list_in(self.get("/agents"), "agents"))

    def agent(self, name: str) -> AgentRow:
        """See Operating."""
        return agent_from(self.get(f"/agents/{_name(name)}"))

    def resume(self, name: str, *, reason: str) -> AgentRow:
        """See Operating."""
        return agent_from(self.ask(f"/agents/{_name(name)}/resume", {"reason": reason}))

    def enroll(self, workload: str, *, ttl: int = TTL) -> JoinToken:
        """See Operating."""
        told = self.ask(f"/workloads/{_name(workload)}/enroll", {"ttl": ttl})
        return JoinToken(text_in(told, "token"), text_in(told, "workload"), number_in(told, "expires"))

    def records(self, wanted: Wanted, *, limit: int, below: int | None = None) -> RecordPage:
        """See Operating. Raises IntegrityError where what comes is no record."""
        told = self.get("/audit/records", {**asdict(wanted), "limit": limit, "below": below})
        found = tuple(read_record(_object(item)) for item in list_in(told, "records"))
        return RecordPage(records=found, below=None if told.get("below") is None else number_in(told, "below"))

    def checkpoint(self) -> SignedHead:
        """See Operating."""
        told = self.get("/audit/checkpoint")
        return SignedHead(note=text_in(told, "checkpoint"), key=text_in(told, "key"))

    def inclusion(self, seq: int, size: int) -> dict[str, Json]:
        """See Operating."""
        return _proof(self.get("/audit/proofs/inclusion", {"seq": seq, "size": size}))

    def consistency(self, first: int, second: int) -> dict[str, Json]:
        """See Operating."""
        return _proof(self.get("/audit/proofs/consistency", {"first": first, "second": second}))

    def apply(self, bundle: Bundle, *, reason: str, expected: str | None) -> str:
        """See Operating."""
        body = {"bundle": loads(bundle.text().encode()), "reason": reason or None, "expected": expected}
        return text_in(self.ask("/policy", given(body)), "policy_set")

    def rollback(self, digest: str | None, *, reason: str) -> str:
        """See Operating."""
        told = self.ask("/policy/rollback", given({"digest": digest, "reason": reason or None}))
        return text_in(told, "policy_set")

    def history(self) -> list[Applied]:
        """See Operating."""
        return [_applied(_object(item)) for item in list_in(self.get("/policy/history"), "moves")]

    def policy(self, digest: str | None = None) -> tuple[str, Bundle]:
        """See Operating."""
        told = self.get("/policy", {"digest": digest})
        try:
            return text_in(told, "policy_set"), parse_bundle(dumps(told.get("bundle")).decode())
        except ConfigurationError as error:
            raise bad_response(str(error)) from None

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """Dry run, hop by hop."""
        body = {"chain": list(chain), "tool": tool, "scopes": list(scopes), "resource": resource, "user": user}
        told = self.ask("/policy/explain", given(body))
        return Explanation(allowed=told.get("allowed") is True, hops=tuple(_hop(hop) for hop in list_in(told, "hops")))

    def suggest(self, session: str | None) -> str:
        """TOML that would have allowed what was refused."""
        return text_in(self.ask("/policy/suggest", given({"session": session})), "toml")

    def get(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, object]:
        """Read, with the parameters that are given; again where the connection broke."""
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        return self._send("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def ask(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Have something done. Raises Denied (`no_operator_token`) where there is no token."""
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> dict[str, object]:
        token = self._token()
        asked = path.partition("?")[0]
        if token is None:
            raise Denied(
                Denial(
                    code="no_operator_token",
                    policy=None,
                    asked=f"{asked} is an operator's to ask",
                    enough=f"deputize login, or a token in {TOKEN_VARIABLE}",
                )
            )
        sending = Sending(
            method=method,
            path=path,
            asked=asked,
            body=dict(body) if body is not None else None,
            bearer=token,
            again=method == "GET",
        )
        return loads(self._connection.send(sending), max_depth=MAX_DEPTH, refuse=bad_response)


def revocation_from(told: Mapping[str, object]) -> Revocation:
    """A revocation as a server tells of it. Raises InvalidRequest (`invalid_response`)."""
    sessions = number_in(told, "sessions")
    return Revocation(
        kind=text_in(told, "kind"),
        target=text_in(told, "target"),
        at=number_in(told, "at"),
        effective_by=number_in(told, "effective_by"),
        seq=number_in(told, "seq"),
        count=lambda: sessions,
    )


def _name(text: str) -> str:
    """A name or an id as one part of a path."""
    return quote(text, safe="")


def _object(told: object) -> Mapping[str, object]:
    if not isinstance(told, dict):
        raise bad_response("an item of the answer is an object")
    return told


def _proof(told: Mapping[str, object]) -> dict[str, Json]:
    """Numbers, hashes and a list of hashes, unchecked: whoever uses a proof checks it."""
    found: dict[str, Json] = {}
    for name, value in told.items():
        if isinstance(value, list):
            found[name] = [str(item) for item in value]
        elif isinstance(value, str) or type(value) is int:
            found[name] = value
        else:
            raise IntegrityError("not a proof: a member has another form", code="proof_malformed")
    return found


def _applied(told: Mapping[str, object]) -> Applied:
    at, previous = told.get("at"), told.get("previous")
    if not isinstance(at, int | float):
        raise bad_response("at is no time")
    return Applied(
        digest=text_in(told, "policy_set"),
        at=float(at),
        by=text_in(told, "by"),
        reason=text_in(told, "reason"),
        seq=number_in(told, "record"),
        previous=previous if isinstance(previous, str) else None,
        active=told.get("active") is True,
    )


def _hop(told: object) -> Hop:
    hop = _object(told)
    policies = hop.get("policies")
    return Hop(
        step=str(hop.get("step")),
        right=Right(str(hop.get("resource")), str(hop.get("scope"))),
        allowed=hop.get("allowed") is True,
        policies=tuple(str(policy) for policy in policies) if isinstance(policies, list) else (),
        enough=str(hop.get("enough", "")),
    )
