"""Every endpoint: who may ask, what for, and the names of the shapes of question and answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deputize.server.desk import Errand
from deputize.server.documents import CARD
from deputize.server.documents import CLIENT as DOCUMENT
from deputize.server.operators import ERRANDS
from deputize.wire.metadata import WELL_KNOWN

CLIENT: Final = "client"  # private_key_jwt in the form
SESSION: Final = "session"  # a session token and a proof of its key
OPERATOR: Final = "operator"  # a bearer token of an issuer that [[operators]] names
NOBODY: Final = "nobody"  # no authentication
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One endpoint. `answers`: media type -> shape. `proved`: a DPoP proof may stand beside the form."""

    path: str
    method: str
    name: str
    who: str
    summary: str
    told: str
    body: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    proved: bool = False


def _post(path: str, name: str, who: str, body: str | None, answer: str, summary: str) -> Row:
    return Row(
        path=path,
        method="post",
        name=name,
        who=who,
        summary=summary,
        told="Done, or the answer.",
        body=body,
        answers={_JSON: answer},
        proved=name == "token",
    )


def _get(path: str, name: str, who: str, answers: Mapping[str, str], summary: str) -> Row:
    return Row(path=path, method="get", name=name, who=who, summary=summary, told="The answer.", answers=answers)


def _plain(path: str) -> str:
    """As OpenAPI writes a path: its parameters without their kind."""
    return path.replace(":path}", "}")


def _of_operators(errand: Errand) -> Row:
    """From the table that the endpoint itself is made from."""
    path = _plain(errand.path)
    said = (errand.run.__doc__ or "").splitlines()[0].partition(": ")[2] or "For operators."
    return Row(
        path=path,
        method=errand.method.lower(),
        name=f"{errand.method.lower()}{path}".replace("/", ".").replace("{", "").replace("}", ""),
        who=OPERATOR,
        summary=f"{said} Role: {errand.role}.",
        told="The answer.",
        body="Any" if errand.method == "POST" else None,
        answers={_JSON: "Any"},
    )


ROWS: Final = (
    _post("/token", "token", CLIENT, "TokenRequest", "TokenAnswer", "Identities, sessions and access (RFC 8693)."),
    _post("/introspect", "introspect", CLIENT, "TokenQuestion", "Introspection", "The state of a token (RFC 7662)."),
    _post("/revoke", "revoke", CLIENT, "TokenQuestion", "Empty", "Revoke a token of the client's (RFC 7009)."),
    _post("/registry", "registry", CLIENT, "ClientFields", "Registry", "What the workload may know of the registry."),
    _post("/reports", "report", CLIENT, "ReportFields", "Empty", "A resource server tells of a call that it received."),
    _post("/rejections", "rejections", CLIENT, "RejectionFields", "Empty", "A resource server tells of strangers."),
    _post("/calls", "call", SESSION, "CallQuestion", "Permitted", "Permission for one tool call."),
    _post("/notes", "note", SESSION, "Note", "Noted", "What came of a tool call or a hand-off."),
    _get("/session", "session", SESSION, {_JSON: "SessionState"}, "The state of the presented session."),
    _get("/session/tree", "tree", SESSION, {_JSON: "Tree"}, "The presented session and all below it."),
    _post("/session/close", "close", SESSION, None, "Closed", "An orderly end of the session and all below it."),
    _post("/session/revoke", "cut", SESSION, "Cut", "Revocation", "Cut off the session, or one below it."),
    Row(
        path="/revocations",
        method="post",
        name="revocations",
        who=CLIENT,
        summary="The feed of revocations: server-sent events, or one page where wait=0.",
        told="A stream, or a page.",
        body="FeedFields",
        answers={"text/event-stream": "Text", _JSON: "FeedPage"},
    ),
    Row(
        path="/checkpoint",
        method="post",
        name="checkpoint",
        who=CLIENT,
        summary="The signed head of the log: a C2SP note.",
        told="The note.",
        body="ClientFields",
        answers={"text/plain; charset=utf-8": "Text"},
    ),
    _get("/jwks", "jwks", NOBODY, {"application/jwk-set+json": "KeySet"}, "The keys that tokens are verified with."),
    _get(WELL_KNOWN, "metadata", NOBODY, {_JSON: "Metadata"}, "Authorization server metadata (RFC 8414)."),
    _get("/openapi.json", "description", NOBODY, {_JSON: "Any"}, "This description."),
    _get("/healthz", "healthz", NOBODY, {_JSON: "Status"}, "The process answers."),
    _get("/readyz", "readyz", NOBODY, {_JSON: "Status"}, "The process may decide."),
    _get(
        "/metrics",
        "metrics",
        NOBODY,
        {"text/plain; version=0.0.4; charset=utf-8": "Text"},
        "Figures for Prometheus, for the loopback and listed addresses.",
    ),
    _get(_plain(CARD), "card", NOBODY, {_JSON: "Any"}, "The signed card of an agent (A2A 1.0)."),
    _get(_plain(DOCUMENT), "document", NOBODY, {_JSON: "Any"}, "The client metadata document of an agent."),
    *(_of_operators(errand) for errand in ERRANDS),
)
