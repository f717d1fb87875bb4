"""Introspection: the state of a token by the authority's own store (RFC 7662 §2.2)."""

from deputize.authority.parts import Parts
from deputize.authority.subject import Cuts, grant_killed
from deputize.model.failure import InvalidToken
from deputize.model.introspection import INACTIVE, Introspection
from deputize.model.revocation import Kind
from deputize.model.session import Grant, Node, first_dead
from deputize.model.token import ACCESS_TYP, IDENTITY_TYP, SESSION_TYP, AccessClaims, SessionClaims
from deputize.store.protocol import ReadTx
from deputize.wire import access_token, identity_token, session_token
from deputize.wire.jws import peek
from deputize.wire.thumbprint import thumbprint


def introspect(parts: Parts, token: str) -> Introspection:
    """Never raises for what a token says: what does not hold is inactive, and nothing else is told."""
    try:
        header = peek(token)
        now, cut = parts.store.read(lambda tx: (parts.moment(tx), tx.revoked(Kind.KEY, header.kid or "")))
        if cut is not None:
            return INACTIVE
        typ = header.typ
        if typ == ACCESS_TYP:
            return _access(parts, token, now)
        if typ == SESSION_TYP:
            return _session(parts, token, now)
        if typ == IDENTITY_TYP:
            return _identity(parts, token, now)
    except InvalidToken:
        return INACTIVE
    return INACTIVE


def _access(parts: Parts, token: str, now: float) -> Introspection:
    claims = access_token.decode(
        token, issuer=parts.issuer, audience=None, key_for=parts.keys.verifying, now=now, leeway=0
    )

    def look(tx: ReadTx) -> tuple[Grant, Node] | None:
        grant = tx.grant(claims.jti)
        if grant is None or (grant.sid, grant.resource) != (claims.sid, claims.aud) or grant_killed(tx, grant):
            return None
        node = _live(parts, tx, claims.sid, claims.jti, now)
        return (grant, node) if node is not None and tx.has_record(grant.leaf, jti=grant.jti) else None

    found = parts.store.read(look)
    if found is None:
        return INACTIVE
    grant, node = found
    return _answer(claims, claims.aud, "access_token", node.actors if grant.terminal else node.chain, claims.scope)


def _session(parts: Parts, token: str, now: float) -> Introspection:
    claims = session_token.decode(token, issuer=parts.issuer, key_for=parts.keys.verifying, now=now, leeway=0)
    node = parts.store.read(lambda tx: _live(parts, tx, claims.sid, claims.jti, now))
    return INACTIVE if node is None else _answer(claims, parts.issuer, "session", node.chain, ())


def _identity(parts: Parts, token: str, now: float) -> Introspection:
    claims = identity_token.decode(token, issuer=parts.issuer, key_for=parts.keys.verifying, now=now, leeway=0)
    found = parts.store.read(lambda tx: tx.revoked_among([claims.sub, claims.jti]))
    dead = [entry for entry in found if entry.before is None or claims.iat <= entry.before]
    cuts = {(entry.kind, entry.id) for entry in dead}
    if cuts & {(Kind.AGENT, claims.sub), (Kind.TOKEN, claims.jti)}:
        return INACTIVE
    return Introspection(
        active=True,
        token_type="identity",  # noqa: S106  # a label
        iss=claims.iss,
        sub=claims.sub,
        jti=claims.jti,
        iat=claims.iat,
        exp=claims.exp,
        jkt=thumbprint(claims.jwk),
    )


def _live(parts: Parts, tx: ReadTx, sid: str, jti: str, now: float) -> Node | None:
    del parts
    node = tx.session(sid)
    if node is None:
        return None
    cuts = Cuts(tx, tx.line(node), (jti,))
    dead = first_dead(cuts.line, now) is not None or cuts.killed(jti) is not None
    return None if dead or not tx.has_record(node.leaf, sid=node.sid) else cuts.line[-1]


def _answer(
    claims: AccessClaims | SessionClaims, aud: str, kind: str, chain: tuple[str, ...], scope: tuple[str, ...]
) -> Introspection:
    return Introspection(
        active=True,
        token_type=kind,
        iss=claims.iss,
        sub=claims.sub,
        aud=aud,
        client_id=claims.client_id,
        chain=chain,
        scope=scope,
        sid=claims.sid,
        txn=claims.txn,
        jti=claims.jti,
        iat=claims.iat,
        exp=claims.exp,
        jkt=claims.jkt,
        mode=claims.context.mode,
        sign_in=claims.sign_in,
    )
