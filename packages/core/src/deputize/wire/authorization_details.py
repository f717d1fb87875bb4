"""Rights on the wire: pairs of resource and scope, which a flat `scope` cannot say (RFC 9396 §2).

One type of detail: `locations` holds one resource, `actions` its scopes. A detail of another type, or with a
member that is not known, is refused and never passed over (RFC 9396 §5).
"""

from collections.abc import Iterable
from typing import Final

from deputize.model.failure import InvalidRequest
from deputize.model.resource import Right, check_resource, check_scope
from deputize.wire.json_strict import dumps, parse

RIGHTS_TYPE: Final = "urn:deputize:rights"
INVALID: Final = "invalid_authorization_details"
MAX_DETAILS: Final = 64
MAX_RIGHTS: Final = 1024
MAX_TEXT: Final = 48 * 1024  # characters

Detail = dict[str, object]


def build(rights: Iterable[Right]) -> list[Detail]:
    """The details that say `rights`: one for each resource, sorted."""
    by_resource: dict[str, list[str]] = {}
    for right in sorted(rights):
        by_resource.setdefault(right.resource, []).append(right.scope)
    return [
        {"type": RIGHTS_TYPE, "locations": [resource], "actions": scopes} for resource, scopes in by_resource.items()
    ]


def encode(rights: Iterable[Right]) -> str:
    """As the form field holds it."""
    return dumps(build(rights)).decode()


def decode(text: str) -> frozenset[Right]:
    """The rights that a form field names. Raises InvalidRequest (`invalid_authorization_details`)."""
    if len(text) > MAX_TEXT:
        raise _refused("authorization_details are too long")
    return read(parse(text.encode("utf-8", "surrogatepass"), refuse=_refused))


def read(details: object) -> frozenset[Right]:
    """The rights of parsed details; an empty list asks for nothing, and never means all.

    Raises InvalidRequest (`invalid_authorization_details`).
    """
    if not isinstance(details, list) or len(details) > MAX_DETAILS:
        raise _refused(f"authorization_details are a list of at most {MAX_DETAILS} objects")
    rights = frozenset(right for detail in details for right in _rights(detail))
    if len(rights) > MAX_RIGHTS:
        raise _refused(f"at most {MAX_RIGHTS} rights are asked for at a time")
    return rights


def _rights(detail: object) -> frozenset[Right]:
    if not isinstance(detail, dict) or detail.get("type") != RIGHTS_TYPE:
        raise _refused("the type of an authorization detail is none that is known")
    if detail.keys() != {"type", "locations", "actions"}:
        raise _refused("an authorization detail of this type has locations and actions, and nothing else")
    locations, actions = _texts(detail["locations"]), _texts(detail["actions"])
    if len(locations) != 1:
        raise _refused("an authorization detail is of one location")
    try:
        resource = check_resource(locations[0])
        return frozenset(Right(resource, check_scope(action)) for action in actions)
    except InvalidRequest as error:
        raise _refused(str(error)) from None


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not value or len(value) > MAX_RIGHTS:
        raise _refused("locations and actions are lists of text, not empty")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) != len(value):
        raise _refused("locations and actions are lists of text, not empty")
    return texts


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, code=INVALID)
