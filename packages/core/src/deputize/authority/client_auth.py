"""Who asks: an identity of ours and an assertion signed by its key, checked without anything stored about the client.

A stranger is told `invalid_client` and nothing else (A-17); the cause of that error has the reason's own code, for the
count of failures before authentication.
"""

from dataclasses import dataclass

from deputize.authority.parts import Parts
from deputize.authority.rules import hosted_now
from deputize.authority.subject import Cuts, Tokens
from deputize.model.failure import AttestationFailed, InvalidToken
from deputize.model.request import Client
from deputize.model.revocation import Kind
from deputize.model.token import ClientAssertion, IdentityClaims, SubjectAssertion
from deputize.store.protocol import WriteTx
from deputize.wire import client_assertion, subject_assertion
from deputize.wire.alg import VerifyingKey
from deputize.wire.client_assertion import INVALID_CLIENT, Credentials

_SPENT_CLIENT = "client-assertion"  # what spent ids are counted under
_SPENT_SUBJECT = "subject-assertion"


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client of a request, the identity that it showed and the key that it proved."""

    client: Client
    identity: IdentityClaims
    key: VerifyingKey


def client_of(parts: Parts, tokens: Tokens, credentials: Credentials) -> Client:
    """The client alone; see `authenticate`."""
    return authenticate(parts, tokens, credentials).client


def authenticate(parts: Parts, tokens: Tokens, credentials: Credentials) -> Authenticated:
    """Check identity, assertion and rule, and spend the assertion: the same one authenticates nobody again.

    Raises InvalidToken (`invalid_client`) for whatever does not hold, StoreError where nothing can be spent.
    """
    try:
        return _authenticated(parts, tokens, credentials)
    except (InvalidToken, AttestationFailed) as error:
        raise InvalidToken("the client did not authenticate", code=INVALID_CLIENT) from error


def asserted_user(parts: Parts, who: Authenticated, assertion: str) -> str:
    """The user (`<alias>|<sub>`) whom the authenticated agent names by a signed assertion, which is spent.

    Whether an asserted user may be acted for, policy decides. Raises InvalidToken.
    """
    if who.client.agent == who.client.workload:
        raise InvalidToken("users are asserted by the agent that acts for them", code="wrong_presenter")
    now = parts.clock.now()  # as below
    told = subject_assertion.decode(assertion, agent=who.client.agent, issuer=parts.issuer, key=who.key, now=now)
    if not parts.store.write(lambda tx: _spend(tx, _SPENT_SUBJECT, told.agent, told)):
        raise InvalidToken("this assertion was used before", code="assertion_replayed")
    return told.user


def _authenticated(parts: Parts, tokens: Tokens, credentials: Credentials) -> Authenticated:
    now = parts.now()
    identity, kid = tokens.identity(parts, credentials.identity, now)
    if credentials.client_id not in {None, identity.sub}:
        raise InvalidToken("client_id is not whose identity this is", code="wrong_presenter")
    if identity.context is None:
        raise InvalidToken("this identity does not say how its holder was attested", code="malformed_token")
    key, jkt = tokens.holder(credentials.identity, identity)
    client = Client(
        agent=identity.sub,
        jkt=jkt,
        workload=identity.context.workload,
        attestation=identity.context.method,
        attested=identity.context.attested,
    )
    # Freshness is between two clocks: the authority's time may lie ahead of both after one of them stepped back.
    assertion = client_assertion.decode(
        credentials.assertion, client_id=identity.sub, issuer=parts.issuer, key=key, now=parts.clock.now()
    )
    if not hosted_now(parts.rules, client):
        raise AttestationFailed("no rule of now lets this workload be what it says")

    def operation(tx: WriteTx) -> None:
        _require_live(Cuts(tx, (), (client.agent, client.workload, identity.jti, kid)), client, identity, kid)
        if parts.moment(tx) >= identity.exp:
            raise InvalidToken("the identity has expired", code="token_expired")
        if not _spend(tx, _SPENT_CLIENT, client.agent, assertion):
            raise InvalidToken("this assertion was used before", code="assertion_replayed")

    parts.store.write(operation)
    return Authenticated(client, identity, key)


def _require_live(cuts: Cuts, client: Client, identity: IdentityClaims, kid: str) -> None:
    cuts.require_identity(client.agent, identity.iat)
    cuts.require_agent(client.workload)
    cuts.require_key(kid)
    if cuts.has(Kind.TOKEN, identity.jti):
        raise InvalidToken("this identity was revoked", code="token_revoked")


def _spend(tx: WriteTx, kind: str, who: str, assertion: ClientAssertion | SubjectAssertion) -> bool:
    return tx.spend(kind, f"{who} {assertion.jti}", assertion.exp + 1)
