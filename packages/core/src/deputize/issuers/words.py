"""What tokens of people say, whatever they are shown for: kinds and groups (RFC 9068 §2, OpenID Connect Core §2)."""

from collections.abc import Collection
from typing import Final

from deputize.model.failure import InvalidToken
from deputize.model.token import ACCESS_TYP
from deputize.wire.foreign_token import ForeignClaims

LEEWAY: Final = 5.0  # seconds that an issuer's clock may be off ours
MAX_GROUPS: Final = 256
MAX_GROUP: Final = 256  # characters
UNKNOWN_ISSUER: Final = "unknown_issuer"
WRONG_KIND: Final = "wrong_token_kind"
MALFORMED: Final = "malformed_claims"

# The `typ` that a token of each kind has.
ACCESS_TYPES: Final[frozenset[str | None]] = frozenset({ACCESS_TYP})
ID_TYPES: Final[frozenset[str | None]] = frozenset({"jwt", None})
# What an ID token never says, and an access or logout token that calls itself JWT does.
_NO_ID_TOKEN: Final = frozenset({"client_id", "scope", "scp", "events"})


def check_id_token(found: ForeignClaims, *, but: Collection[str | None] = ()) -> None:
    """An access token that calls itself a JWT is not taken for an ID token, nor a logout token (RFC 8725 §3.12).

    `but`: claims that a rule asks of ID tokens by name.
    """
    told = (_NO_ID_TOKEN - set(but)) & found.claims.keys()
    if told or found.claims.get("typ", "ID") != "ID":  # a claim by which one well-known issuer tells its kinds apart
        raise InvalidToken("the token is no ID token", code=WRONG_KIND)


def groups_in(found: ForeignClaims, name: str) -> tuple[str, ...]:
    """The claim `name`: a list of texts, or one. Groups that are kept elsewhere would hide what forbids: refused."""
    elsewhere = found.claims.get("_claim_names")
    if not name:
        return ()
    if isinstance(elsewhere, dict) and name in elsewhere:
        raise malformed("the issuer left the user's groups out because there are too many")
    if name not in found.claims:
        return ()
    stated = found.claims[name]
    groups = (stated,) if isinstance(stated, str) else tuple(dict.fromkeys(texts(stated)))
    if len(groups) > MAX_GROUPS or not all(0 < len(group) <= MAX_GROUP for group in groups):
        raise malformed(f"there are more than {MAX_GROUPS} groups, or one is empty or too long")
    return groups


def texts(value: object) -> tuple[str, ...]:
    """A list of texts. Raises InvalidToken (`malformed_claims`)."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise malformed("a claim is neither a text nor a list of texts")
    return tuple(value)


def malformed(reason: str) -> InvalidToken:
    """A claim in a form that it does not have."""
    return InvalidToken(reason, code=MALFORMED)
