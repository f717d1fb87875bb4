"""The answer that gives access: RFC 8693 §2.2.1, and what the grant's record is called as one member of ours."""

from dataclasses import dataclass, field
from typing import Final

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.mode import Mode
from deputize.model.session import Grant
from deputize.wire import authorization_details
from deputize.wire.answer import bad_response
from deputize.wire.json_strict import dumps, loads
from deputize.wire.jws import unverified_claims
from deputize.wire.token_exchange import ACCESS_TOKEN

GRANT_MEMBER: Final = "deputize_grant"
WRONG_BINDING: Final = "wrong_binding"
_TEXTS: Final = ("jti", "sid", "txn", "agent", "sub", "resource")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAnswer:
    """A grant and its token. `reissued`: an earlier grant answered a repeat."""

    grant: Grant
    token: str = field(repr=False)
    expires_in: int
    reissued: bool = False

    def to_json(self) -> bytes:
        """The body of a 200 answer; to be sent with `Cache-Control: no-store`. Scope is always told (TX-09)."""
        grant = self.grant
        members: dict[str, object] = {
            "access_token": self.token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "DPoP" if grant.jkt else "Bearer",
            "expires_in": self.expires_in,
            "scope": " ".join(sorted(grant.scope)),
            GRANT_MEMBER: {
                **{name: getattr(grant, name) for name in _TEXTS},
                "mode": grant.mode.value,
                "iat": grant.iat,
                "exp": grant.exp,
                "reissued": self.reissued,
                **({"onward": authorization_details.build(grant.onward)} if grant.onward else {}),
            },
        }
        return dumps(members)

    @classmethod
    def from_json(cls, raw: bytes, *, jkt: str | None) -> "AccessAnswer":
        """`jkt`: the key that was proved with the request, None where none was.

        A client that proved a key throws away a token that is bound to none, or to another (TX-22). Raises
        InvalidRequest (`invalid_response`), InvalidToken (`wrong_binding`).
        """
        members = loads(raw, refuse=bad_response)
        token, told, kind = members.get("access_token"), members.get(GRANT_MEMBER), members.get("token_type")
        scope, expires_in = members.get("scope"), members.get("expires_in")
        if not (isinstance(token, str) and isinstance(told, dict) and isinstance(scope, str) and scope):
            raise bad_response("the answer gives no access")
        texts = [told.get(name) for name in _TEXTS]
        times = [told.get("iat"), told.get("exp"), expires_in]
        if not all(isinstance(item, str) and item for item in texts) or not all(type(item) is int for item in times):
            raise bad_response("the answer tells of its grant in another form")
        bound = bound_to(token)
        if bound != jkt or (kind == "DPoP") is not (bound is not None):
            raise InvalidToken(
                "the token is not bound to the key that was proved; it was thrown away", code=WRONG_BINDING
            )
        try:
            mode = Mode(told.get("mode"))
            onward = authorization_details.read(told["onward"]) if "onward" in told else frozenset()
        except (ValueError, InvalidRequest):
            raise bad_response("the mode or the rights are none that exist") from None
        jti, sid, txn, agent, sub, resource = map(str, texts)
        grant = Grant(
            jti=jti,
            sid=sid,
            txn=txn,
            agent=agent,
            sub=sub,
            resource=resource,
            scope=frozenset(scope.split(" ")),
            mode=mode,
            iat=int(str(times[0])),
            exp=int(str(times[1])),
            jkt=bound,
            onward=onward,
        )
        return cls(grant=grant, token=token, expires_in=int(str(times[2])), reissued=told.get("reissued") is True)


def bound_to(token: str) -> str | None:
    """`cnf.jkt` as a token says it, its signature not looked at: for the client that asked for it."""
    cnf = unverified_claims(token).get("cnf")
    if cnf is None:
        return None
    jkt = cnf.get("jkt") if isinstance(cnf, dict) and cnf.keys() == {"jkt"} else None
    if not isinstance(jkt, str):
        raise InvalidToken("the token is bound by something that is not known", code=WRONG_BINDING)
    return jkt
