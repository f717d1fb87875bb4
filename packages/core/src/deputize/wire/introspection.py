"""Introspection: the form that asks, the JSON that answers (RFC 7662 §2; RFC 8693 §4.1; RFC 9449 §6.2)."""

from collections.abc import Mapping, Sequence
from typing import Final

from deputize.model.introspection import INACTIVE, Introspection
from deputize.wire.answer import bad_response
from deputize.wire.claims import nested_act, sign_in, sign_in_claims
from deputize.wire.json_strict import dumps, loads

MODE_MEMBER: Final = "deputize_mode"
KIND_MEMBER: Final = "deputize_kind"
_TEXTS: Final = ("sub", "aud", "client_id", "sid", "txn", "jti", "iss")
_TIMES: Final = ("iat", "exp")
_MAX_CHAIN: Final = 64


def token_of(items: Sequence[tuple[str, str]]) -> str:
    """The token that a form asks about; a hint is passed over, all kinds are looked at (RFC 7662 §2.1, RFC 7009 §2.1).

    Empty where none is named, which no token is.
    """
    return next((value for name, value in items if name == "token"), "")


def encode(told: Introspection) -> bytes:
    """What is inactive is told as that, and nothing else (RFC 7662 §2.2)."""
    if not told.active:
        return dumps({"active": False})
    members: dict[str, object] = {"active": True, KIND_MEMBER: told.token_type}
    members |= sign_in_claims(told.sign_in)
    members |= {name: value for name in (*_TEXTS, *_TIMES) if (value := getattr(told, name)) is not None}
    if told.token_type == "access_token":  # noqa: S105  # a kind's name
        members["token_type"] = "DPoP" if told.jkt is not None else "Bearer"
    else:
        members["token_type"] = "N_A"  # noqa: S105  # RFC 8693 §2.2.1
    if told.scope:
        members["scope"] = " ".join(told.scope)
    if told.jkt is not None:
        members["cnf"] = {"jkt": told.jkt}
    if told.chain:
        members["act"] = nested_act(told.chain)
    if told.mode is not None:
        members[MODE_MEMBER] = told.mode
    return dumps(members)


def decode(raw: bytes) -> Introspection:
    """What an answer tells. Anything but a plain `true` is inactive. Raises InvalidRequest (`invalid_response`)."""
    members = loads(raw, refuse=bad_response)
    if members.get("active") is not True:
        return INACTIVE
    scope, cnf = members.get("scope"), members.get("cnf")
    jkt = cnf.get("jkt") if isinstance(cnf, dict) else None
    return Introspection(
        active=True,
        token_type=_text(members, KIND_MEMBER),
        sub=_text(members, "sub"),
        aud=_text(members, "aud"),
        client_id=_text(members, "client_id"),
        sid=_text(members, "sid"),
        txn=_text(members, "txn"),
        jti=_text(members, "jti"),
        iss=_text(members, "iss"),
        sign_in=sign_in(members),
        chain=_chain(members.get("act")),
        scope=tuple(scope.split(" ")) if isinstance(scope, str) and scope else (),
        iat=_time(members, "iat"),
        exp=_time(members, "exp"),
        jkt=jkt if isinstance(jkt, str) else None,
        mode=_text(members, MODE_MEMBER),
    )


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) else None


def _time(members: Mapping[str, object], name: str) -> int | None:
    value = members.get(name)
    return value if type(value) is int else None


def _chain(act: object) -> tuple[str, ...]:
    found: list[str] = []
    while isinstance(act, dict) and len(found) < _MAX_CHAIN:
        sub = act.get("sub")
        if not isinstance(sub, str):
            raise bad_response("an actor has no name")
        found.append(sub)
        act = act.get("act")
    return tuple(found)
