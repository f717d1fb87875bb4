"""What an operator asks of a server, by a bearer token of an issuer that `[[operators]]` names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from deputize.authority.explain import Explanation, Hop
from deputize.authority.revocation import Revocation
from deputize.client.http import Connection, Sending
from deputize.model.failure import Denial, Denied
from deputize.model.resource import Right
from deputize.model.revocation import Kind
from deputize.wire.json_strict import loads
from deputize.wire.session_answer import bad_response

TOKEN_VARIABLE: Final = "DEPUTIZE_TOKEN"  # noqa: S105  # a variable's name


class Operator:
    """`token` is asked for at each request, so that a renewed one is used."""

    def __init__(self, connection: Connection, token: Callable[[], str | None]) -> None:
        self._connection = connection
        self._token = token

    def revoke(self, kind: Kind, target: str, *, reason: str) -> Revocation:
        """Revoke one target; dead when this returns."""
        told = self.ask("POST", "/revocations/new", {"kind": kind.value, "target": target, "reason": reason})
        return revocation_from(told)

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """Dry run, hop by hop."""
        body = {"chain": list(chain), "tool": tool, "scopes": list(scopes), "resource": resource, "user": user}
        told = self.ask("POST", "/policy/explain", {name: value for name, value in body.items() if value is not None})
        hops = told.get("hops")
        if not isinstance(hops, list):
            raise bad_response("the answer explains nothing")
        return Explanation(allowed=told.get("allowed") is True, hops=tuple(_hop(hop) for hop in hops))

    def suggest(self, session: str | None) -> str:
        """TOML that would have allowed what was refused."""
        told = self.ask("POST", "/policy/suggest", {"session": session} if session is not None else {})
        return str(told.get("toml", ""))

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        """One request as the operator. Raises Denied (`no_operator_token`) where there is no token."""
        token = self._token()
        if token is None:
            raise Denied(
                Denial(
                    code="no_operator_token",
                    policy=None,
                    asked=f"{path} is an operator's to ask",
                    enough=f"deputize login, or a token in {TOKEN_VARIABLE}",
                )
            )
        sending = Sending(
            method=method, path=path, asked=path, body=dict(body) if body is not None else None, bearer=token
        )
        return loads(self._connection.send(sending), refuse=bad_response)


def revocation_from(told: Mapping[str, object]) -> Revocation:
    """A revocation as a server tells of it. Raises InvalidRequest (`invalid_response`)."""
    kind, target = told.get("kind"), told.get("target")
    at, by, seq, sessions = (told.get(name) for name in ("at", "effective_by", "seq", "sessions"))
    if not (isinstance(kind, str) and isinstance(target, str) and isinstance(sessions, int)):
        raise bad_response("the answer revokes nothing")
    if not (isinstance(at, int) and isinstance(by, int) and isinstance(seq, int)):
        raise bad_response("the answer revokes nothing")
    return Revocation(kind=kind, target=target, at=at, effective_by=by, seq=seq, count=lambda: sessions)


def _hop(told: object) -> Hop:
    if not isinstance(told, dict):
        raise bad_response("a hop is an object")
    policies = told.get("policies")
    return Hop(
        step=str(told.get("step")),
        right=Right(str(told.get("resource")), str(told.get("scope"))),
        allowed=told.get("allowed") is True,
        policies=tuple(str(policy) for policy in policies) if isinstance(policies, list) else (),
        enough=str(told.get("enough", "")),
    )
