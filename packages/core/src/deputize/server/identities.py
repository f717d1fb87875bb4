"""`POST /token`, where it gives identities: to a workload for its evidence, and for the agents that it hosts."""

from starlette.responses import Response

from deputize.authority import workloads
from deputize.authority.workloads import WorkloadIdentity
from deputize.model.failure import AttestationFailed, InvalidRequest, InvalidToken
from deputize.model.request import Client
from deputize.server import answers
from deputize.server.incoming import Incoming
from deputize.server.service import Service
from deputize.wire import workload_grants
from deputize.wire.identity_answer import IdentityAnswer
from deputize.wire.jws import peek
from deputize.wire.token_exchange import JWT, TokenExchangeRequest


def attested(service: Service, incoming: Incoming, items: list[tuple[str, str]], grant: str) -> Response:
    """A workload without a name yet: its evidence, and a fresh key that is proved in the same request.

    Refused evidence tells nothing of why (A-17): `invalid_grant` (RFC 7523 §3.2).
    """
    evidence = workload_grants.read(items, grant, incoming.peer)
    jkt = service.proved_key(incoming)
    parts = service.engine.parts
    try:
        identity = workloads.attest(parts, service.evidence_keys, evidence, jwk=_shown_key(incoming), jkt=jkt)
    except (AttestationFailed, InvalidToken) as error:
        raise InvalidRequest("the evidence proves no workload", code="invalid_grant") from error
    return _answer(service, identity)


def check_hosted(service: Service, client: Client, request: TokenExchangeRequest) -> None:
    """An identity is asked for with the client's own. Raises InvalidRequest, InvalidToken."""
    if request.subject_token_type != JWT or request.actor_token is not None:
        raise InvalidRequest("an identity is asked for with the workload's own, as subject token")
    if service.engine.identity_claims(request.subject_token).sub != client.agent:
        raise InvalidToken("an identity is asked for with the client's own", code="wrong_presenter")


def hosted(service: Service, incoming: Incoming, client: Client, agent: str | None, jkt: str) -> Response:
    """An authenticated workload: for an agent that it hosts, else its own identity anew, over the proved key."""
    jwk, parts = _shown_key(incoming), service.engine.parts
    if agent is None:
        return _answer(service, workloads.renew(parts, client, jwk=jwk, jkt=jkt))
    return _answer(service, workloads.identify(parts, client, agent, jwk=jwk, jkt=jkt))


def _answer(service: Service, identity: WorkloadIdentity) -> Response:
    answer = IdentityAnswer(
        token=identity.token,
        subject=identity.claims.sub,
        workload=identity.workload,
        method=identity.method,
        expires_in=max(identity.exp - service.now, 1),
    )
    return answers.json(answer.to_json())


def _shown_key(incoming: Incoming) -> dict[str, object]:
    """The key in the proof's header, which was checked to have signed it."""
    return dict(peek(incoming.proof or "").jwk or {})
