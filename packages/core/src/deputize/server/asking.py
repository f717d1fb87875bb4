"""What an authenticated client asks about: tokens, the registry; and what it tells: calls that it received."""

from starlette.responses import Response

from deputize.authority.client_auth import Authenticated
from deputize.authority.visible import answer_for, hosted, is_own, is_resource, registry_for
from deputize.model.failure import InvalidRequest, NotFound
from deputize.model.report import Rejections, Report
from deputize.model.revocation import Kind
from deputize.server import answers
from deputize.server.holding import only, text, texts
from deputize.server.incoming import Incoming
from deputize.server.service import Service
from deputize.wire import introspection
from deputize.wire.json_strict import loads
from deputize.wire.registry_answer import RegistryAnswer

Items = list[tuple[str, str]]
REPORT, REJECTIONS = "report", "rejections"
MAX_COUNT = 1_000_000_000


def introspect(service: Service, incoming: Incoming, items: Items, who: Authenticated) -> Response:
    """`POST /introspect` (RFC 7662)."""
    del incoming
    engine = service.engine
    told = answer_for(engine.parts, who.client, engine.introspect(introspection.token_of(items)))
    return answers.json(introspection.encode(told))


def revoke(service: Service, incoming: Incoming, items: Items, who: Authenticated) -> Response:
    """`POST /revoke` (RFC 7009): a token that the client holds. What is unknown is 200, another's is refused."""
    del incoming
    engine = service.engine
    told = engine.introspect(introspection.token_of(items))
    if told.active and told.jti is not None:
        if not is_own(engine.parts, who.client, told):
            raise InvalidRequest("the token is another client's (RFC 7009 §2.1)", code="unauthorized_client")
        engine.revoke(Kind.TOKEN, told.jti, reason="revoked by its client", by=who.client.agent)
    return answers.members()


def registry(service: Service, incoming: Incoming, items: Items, who: Authenticated) -> Response:
    """`POST /registry`: what the client's workload may know of agents and resources."""
    del incoming, items
    parts = service.engine.parts
    agents = hosted(parts, who.client)
    told = RegistryAnswer(
        registry=registry_for(service.engine.registry, agents),
        hosted=agents,
        token_life=parts.limits.session_token_ttl,
    )
    return answers.json(told.to_json())


def report(service: Service, incoming: Incoming, items: Items, who: Authenticated) -> Response:
    """`POST /reports`: a resource server tells of a call. It names the token by its `jti`, of its own resource alone.

    Session, subject and agent are the grant's, whatever the report says; a grant of another resource looks like none.
    """
    del incoming
    parts = service.engine.parts
    body = loads(next((value for name, value in items if name == REPORT), "").encode(), refuse=InvalidRequest)
    only(body, {"jti", "tool", "outcome", "call_id", "code", "scopes"})
    jti = text(body, "jti")
    grant = parts.store.read(lambda tx: tx.grant(jti))
    if grant is None or not is_resource(parts, who.client, grant.resource):
        raise NotFound("no such token was given for a resource of yours")
    service.engine.record_call(
        Report(
            sid=grant.sid,
            txn=grant.txn,
            tool=text(body, "tool"),
            outcome=text(body, "outcome"),
            resource=grant.resource,
            sub=grant.sub,
            agent=grant.agent,
            jti=grant.jti,
            call_id=text(body, "call_id", None) or None,
            code=text(body, "code", None) or None,
            scopes=texts(body, "scopes"),
        )
    )
    return answers.members()


def rejections(service: Service, incoming: Incoming, items: Items, who: Authenticated) -> Response:
    """`POST /rejections`: requests at a resource of the client's that it could name no caller for; a bounded count."""
    del incoming
    body = loads(next((value for name, value in items if name == REJECTIONS), "").encode(), refuse=InvalidRequest)
    only(body, {"resource", "code", "client", "count"})
    resource, count = text(body, "resource"), body.get("count")
    if not is_resource(service.engine.parts, who.client, resource):
        raise NotFound("no such resource is yours")
    if type(count) is not int or not 0 < count <= MAX_COUNT:
        raise InvalidRequest("count is a number above 0")
    told = Rejections(resource=resource, code=text(body, "code"), client=text(body, "client"), count=count)
    service.engine.record_rejections(told)
    return answers.members()
