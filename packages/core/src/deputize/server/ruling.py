"""Operators' endpoints about policy: what decides, what decided before, another set, and dry runs."""

from typing import Final

from starlette.responses import Response

from deputize.authority.operations import POLICY_REFUSED
from deputize.config import Bundle, parse_bundle
from deputize.model.failure import ConfigurationError, InvalidRequest
from deputize.server import answers
from deputize.server.desk import MAX_POLICY, Asked, Errand
from deputize.server.holding import text, texts
from deputize.wire.json_strict import dumps, loads


def policy(asked: Asked) -> Response:
    """`GET /policy`: the texts of the set that decides, or of another that did (`digest`)."""
    digest, bundle = asked.operations.policy(asked.query("digest").get("digest"))
    return answers.members(policy_set=digest, bundle=loads(bundle.text().encode(), refuse=InvalidRequest))


def history(asked: Asked) -> Response:
    """`GET /policy/history`: every move, oldest first."""
    asked.query()
    return answers.members(moves=[move.to_dict() for move in asked.operations.history()])


def apply(asked: Asked) -> Response:
    """`POST /policy`: decide by these texts. `expected`: only where this set decides now."""
    told = asked.body("bundle", "expected", "reason")
    expected = text(told, "expected", None) or None
    digest = asked.operations.apply(_bundle(told), reason=text(told, "reason", None), expected=expected)
    return answers.members(policy_set=digest)


def rollback(asked: Asked) -> Response:
    """`POST /policy/rollback`: decide by a set again that decided before."""
    told = asked.body("digest", "reason")
    digest = asked.operations.rollback(text(told, "digest", None) or None, reason=text(told, "reason", None))
    return answers.members(policy_set=digest)


def explain(asked: Asked) -> Response:
    """`POST /policy/explain`: a dry run, hop by hop."""
    told = asked.body("chain", "tool", "scopes", "resource", "user")
    found = asked.operations.explain(
        chain=texts(told, "chain"),
        tool=text(told, "tool", None) or None,
        scopes=texts(told, "scopes"),
        resource=text(told, "resource", None) or None,
        user=text(told, "user", None) or None,
    )
    return answers.members(allowed=found.allowed, hops=[hop.to_dict() for hop in found.hops])


def suggest(asked: Asked) -> Response:
    """`POST /policy/suggest`: TOML that would have allowed what was refused."""
    told = asked.body("session")
    return answers.members(toml=asked.operations.suggest(text(told, "session", None) or None))


def _bundle(told: dict[str, object]) -> Bundle:
    found = told.get("bundle")
    if not isinstance(found, dict):
        raise InvalidRequest("bundle is a policy set: main, files, matches, environment, version")
    try:
        return parse_bundle(dumps(found).decode())
    except ConfigurationError as error:
        raise InvalidRequest(str(error), code=POLICY_REFUSED) from None


ERRANDS: Final = (
    Errand(path="/policy", method="GET", role="viewer", run=policy),
    Errand(path="/policy/history", method="GET", role="viewer", run=history),
    Errand(path="/policy", method="POST", role="admin", run=apply, acts=True, limit=MAX_POLICY),
    Errand(path="/policy/rollback", method="POST", role="admin", run=rollback, acts=True),
    Errand(path="/policy/explain", method="POST", role="viewer", run=explain),
    Errand(path="/policy/suggest", method="POST", role="viewer", run=suggest),
)
