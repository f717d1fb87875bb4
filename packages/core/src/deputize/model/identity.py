"""Names of agents, workloads, users and sessions. Namespaces are disjoint by construction.

Agents and workloads are SPIFFE IDs (SPIFFE-ID standard §2: trust domain `[a-z0-9.-_]`, path segments
`[a-zA-Z0-9.-_]`). A user is `<issuer alias>|<sub>`; an alias holds no `|`, so the form is injective.
"""

import re
from typing import Final

from deputize.model.failure import InvalidRequest

MAX_SPIFFE_ID: Final = 255  # bytes; SPIFFE-ID §2.3 asks implementations to support up to 2048, ours are short
LOCAL_ALIAS: Final = "local"
SESSION_ID_LENGTH: Final = 16  # characters of base64url: 96 random bits

_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_ALIAS = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_SUBJECT = re.compile(r"[\x21-\x7e]{1,200}\Z")
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{16}\Z")
_LOOKS_LIKE_URI = re.compile(r"(?:spiffe|https?|urn):", re.IGNORECASE)
_FOLD = str.maketrans({"0": "o", "1": "l", "_": "-", ".": "-"})


def check_trust_domain(name: str) -> str:
    """Return `name` if it is a SPIFFE trust domain name. Raises InvalidRequest."""
    if not _TRUST_DOMAIN.match(name):
        raise InvalidRequest("a trust domain is 1-63 characters of a-z 0-9 . - _")
    return name


def check_agent_name(name: str) -> str:
    """Return `name` (`name` or `namespace/name`) if it may stand in a SPIFFE path. Raises InvalidRequest."""
    segments = name.split("/")
    if len(segments) > 2 or not all(_SEGMENT.match(part) for part in segments):  # noqa: PLR2004  # namespace/name
        raise InvalidRequest("an agent's name is 1-63 characters of A-Z a-z 0-9 . - _, with one namespace/ at most")
    return name


def agent_id(trust_domain: str, name: str) -> str:
    """The SPIFFE ID of an agent."""
    return f"spiffe://{check_trust_domain(trust_domain)}/agent/{check_agent_name(name)}"


def workload_id(trust_domain: str, name: str) -> str:
    """The SPIFFE ID of a workload."""
    return f"spiffe://{check_trust_domain(trust_domain)}/workload/{check_agent_name(name)}"


def everyone(namespace: str) -> str:
    """The group that every agent of a namespace is in."""
    return f"{namespace}/*"


def parse_agent_id(identifier: str) -> tuple[str, str]:
    """Split an agent's SPIFFE ID into (trust domain, name). Raises InvalidRequest."""
    scheme, _, rest = identifier.partition("://")
    trust_domain, _, path = rest.partition("/")
    kind, _, name = path.partition("/")
    if scheme != "spiffe" or kind != "agent" or len(identifier) > MAX_SPIFFE_ID:
        raise InvalidRequest("an agent is named spiffe://<trust domain>/agent/<name>")
    return check_trust_domain(trust_domain), check_agent_name(name)


def short_name(identifier: str) -> str:
    """What people read: the agent's name, or the identifier itself if it is no agent of ours."""
    marker = "/agent/"
    return identifier.split(marker, 1)[1] if identifier.startswith("spiffe://") and marker in identifier else identifier


def user_id(alias: str, sub: str) -> str:
    """`<alias>|<sub>`. Raises InvalidRequest where `sub` could be taken for an agent, a URL or a control sequence."""
    if not _ALIAS.match(alias):
        raise InvalidRequest("an issuer alias is 1-32 characters of a-z 0-9 -")
    if not _SUBJECT.match(sub) or _LOOKS_LIKE_URI.match(sub):
        raise InvalidRequest("a user's subject is 1-200 printable ASCII characters, no spaces, and no URI")
    return f"{alias}|{sub}"


def local_user(name: str) -> str:
    """The user that the host process asserts: `alice` becomes `local|alice`; `alias|sub` is taken as it is."""
    alias, bar, sub = name.partition("|")
    return user_id(alias, sub) if bar else user_id(LOCAL_ALIAS, name)


def is_user(subject: str) -> bool:
    """True for users, False for agents."""
    return not subject.startswith("spiffe://")


def check_session_id(sid: str) -> str:
    """Return `sid` if it has the shape of a session id. Raises InvalidRequest."""
    if not _SESSION_ID.match(sid):
        raise InvalidRequest("a session id is 16 characters of base64url")
    return sid


def confusable_key(name: str) -> str:
    """Two names with the same key look alike to a reader; a registry may hold one of them."""
    return name.casefold().translate(_FOLD)
