"""The description of the HTTP interface: OpenAPI 3.1, from one row for each endpoint."""

import importlib.metadata
import re
from collections.abc import Mapping
from typing import Final

from deputize.server.openapi_rows import NOBODY, OPERATOR, ROWS, SESSION, Row
from deputize.server.openapi_shapes import PARAMETERS, SCHEMAS, ref

VERSION: Final = "3.1.0"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
_REFUSALS: Final[Mapping[str, str]] = {
    "400": "Malformed, or refused by policy; nothing was issued.",
    "401": "Whoever asked is not authenticated.",
    "403": "The scope is not enough.",
    "404": "No such thing, or none of the caller's.",
    "405": "Not with this method.",
    "429": "Too many requests of one client; nothing was decided.",
    "431": "The head of the request is too long.",
    "500": "A fault of the server; nothing was permitted.",
    "503": "The authority cannot decide now; nothing was permitted.",
}
_RETRIED: Final = frozenset({"429", "503"})


def described(issuer: str) -> dict[str, object]:
    """The whole description, as an object of JSON. Its server is the issuer."""
    return {
        "openapi": VERSION,
        "info": {
            "title": "Deputize",
            "summary": "Delegated sessions for agents: RFC 8693 token exchange, introspection, revocation.",
            "version": importlib.metadata.version("deputize"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": issuer.rstrip("/")}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "parameters": PARAMETERS,
            "securitySchemes": {
                "session": {
                    "type": "http",
                    "scheme": "DPoP",
                    "description": "A session token, with a proof of its key in the header DPoP (RFC 9449 §7.1).",
                },
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of an issuer that [[operators]] names.",
                },
            },
        },
    }


def _paths() -> dict[str, dict[str, object]]:
    paths: dict[str, dict[str, object]] = {}
    for row in ROWS:
        paths.setdefault(row.path, {})[row.method] = _operation(row)
    return paths


def _operation(row: Row) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": row.name,
        "summary": row.summary,
        "security": [{row.who: []}] if row.who in {SESSION, OPERATOR} else [],
        "responses": {"200": _answer(row), **_refusals(row)},
    }
    if row.who == SESSION:
        operation["parameters"] = [{"$ref": "#/components/parameters/Proof"}]
    elif row.proved:
        operation["parameters"] = [{"$ref": "#/components/parameters/OptionalProof"}]
    names = re.findall(r"{([a-z]+)}", row.path)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if row.body is not None:
        kind = JSON if row.who in {SESSION, OPERATOR} else FORM
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": ref(row.body)}}}
    return operation


def _answer(row: Row) -> dict[str, object]:
    content = {kind: {"schema": ref(schema)} for kind, schema in row.answers.items()}
    return {"description": row.told, "content": content}


def _refusals(row: Row) -> dict[str, object]:
    """What may come instead. `default` is not used: every status is one of these."""
    found: dict[str, object] = {}
    for status, words in _REFUSALS.items():
        if (row.who == NOBODY and status in {"401", "403"}) or (row.who == SESSION and status == "403"):
            continue
        answer: dict[str, object] = {"description": words, "content": {JSON: {"schema": ref("Error")}}}
        if status in _RETRIED:
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
        found[status] = answer
    if row.name == "jwks":
        found["304"] = {"description": "As it was."}
    return found
