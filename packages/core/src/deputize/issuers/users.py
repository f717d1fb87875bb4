"""Users, proved by a token of an issuer that the operator listed: who it is, and what it permits at most.

Sources: RFC 8693 §3 (types), RFC 9068 §4 (access tokens), OpenID Connect Core §3.1.3.7 (ID tokens), RFC 8725 §3.8-3.12.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deputize.config import Configuration
from deputize.issuers.keys import keys_of
from deputize.issuers.words import (
    ACCESS_TYPES,
    ID_TYPES,
    LEEWAY,
    UNKNOWN_ISSUER,
    WRONG_KIND,
    check_id_token,
    groups_in,
    malformed,
    texts,
)
from deputize.model.clock import Clock
from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.identity import user_id
from deputize.model.registry import Registry
from deputize.model.resource import Right
from deputize.model.rules import UserRule
from deputize.model.sign_in import SignIn
from deputize.wire import claims as wire_claims
from deputize.wire.foreign_token import ForeignClaims, claimed_issuer, decode
from deputize.wire.jws import KeyFor, unverified_claims
from deputize.wire.token_exchange import ACCESS_TOKEN, ID_TOKEN, JWT

SIGNED_IN_TOO_LONG_AGO: Final = "insufficient_user_authentication"  # as RFC 9470 §3 calls it

# By subject token type: the kind in the configuration, and the `typ` that a token of it has.
_KINDS: Final[Mapping[str, tuple[str, frozenset[str | None]]]] = {
    ACCESS_TOKEN: ("access_token", ACCESS_TYPES),
    JWT: ("access_token", ACCESS_TYPES),
    ID_TOKEN: ("id_token", ID_TYPES),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectUser:
    """A user whose token holds now.

    Attributes:
        user: `<alias>|<sub>`.
        alias: Of the issuer.
        groups: By the issuer's word.
        cap: What the token permits at most; None where no claim says so, empty where the claim says nothing.
        sign_in: When and how they signed in, as the issuer said: carried on unchanged.
        expires: Of the token, in seconds since the epoch. A session may outlive it.
    """

    user: str
    alias: str
    groups: tuple[str, ...]
    cap: frozenset[Right] | None
    sign_in: SignIn
    expires: int


class Users:
    """The `[[users]]` of a configuration, with the keys of their issuers.

    Args:
        rules: Whose users may start sessions.
        registry: What the scopes of a token are matched against.
        keys: How a rule's keys are found; the default asks the issuer, guardedly (`issuer_keys`).
        clock: For the default.
        folder: What paths in the rules start from.
    """

    def __init__(
        self,
        rules: Iterable[UserRule],
        registry: Registry,
        *,
        clock: Clock,
        folder: Path | None = None,
        keys: Callable[[UserRule], KeyFor] | None = None,
    ) -> None:
        found = keys or (lambda rule: keys_of(rule, clock=clock, folder=folder or Path()))
        self._registry = registry
        self._rules: dict[str, tuple[UserRule, KeyFor]] = {rule.issuer: (rule, found(rule)) for rule in rules}

    @classmethod
    def of(cls, configuration: Configuration, clock: Clock) -> "Users":
        """The users of a configuration; paths start from the folder of its file."""
        folder = Path(configuration.path).parent if configuration.path else Path()
        return cls(configuration.user_rules, configuration.registry, clock=clock, folder=folder)

    def verify(self, subject_token: str, subject_token_type: str, now: float) -> SubjectUser:
        """The user whom `subject_token` proves at `now` (seconds).

        The issuer is found by the exact `iss`: a token of an unknown one is refused before anybody is asked anything.
        Raises InvalidToken: `unknown_issuer`, `wrong_token_kind`, `malformed_claims`,
        `insufficient_user_authentication`, and the codes of `foreign_token.decode`. Raises AuthorityUnavailable
        (`issuer_unavailable`) where the issuer's keys cannot be had.
        """
        kind, types = self._kind(subject_token_type)
        rule, key_for = self._rule(claimed_issuer(subject_token))
        if kind not in rule.tokens:
            raise InvalidToken("this issuer's users are not proved by tokens of this kind", code=WRONG_KIND)
        found = decode(
            subject_token,
            issuer=rule.issuer,
            audience=rule.audience,
            key_for=key_for,
            now=now,
            leeway=LEEWAY,
            types=types,
        )
        if kind == "id_token":
            check_id_token(found, but={rule.scopes})
        return SubjectUser(
            user=_user(found, rule),
            alias=rule.alias,
            groups=groups_in(found, rule.groups),
            cap=self._cap(found, rule),
            sign_in=_sign_in(found, rule, now),
            expires=found.exp,
        )

    def claimed(self, token: str) -> str:
        """Whom a token names, unverified: to find what its holder opened by it, never to believe it.

        Raises InvalidToken, also where no rule is for its issuer any more.
        """
        rule, _ = self._rule(claimed_issuer(token))
        return _named(unverified_claims(token), rule)

    def _kind(self, subject_token_type: str) -> tuple[str, frozenset[str | None]]:
        known = _KINDS.get(subject_token_type)
        if known is None:
            raise InvalidToken("a user is proved by an ID token or an access token", code=WRONG_KIND)
        return known

    def _rule(self, issuer: str) -> tuple[UserRule, KeyFor]:
        known = self._rules.get(issuer)
        if known is None:
            raise InvalidToken("no issuer of users goes by that name", code=UNKNOWN_ISSUER)
        return known

    def _cap(self, found: ForeignClaims, rule: UserRule) -> frozenset[Right] | None:
        """Every registered right whose scope the token names; a scope of two resources is at both, since it only caps.

        A name that no resource has is no right of ours, so that it permits nothing.
        """
        if rule.scopes is None or rule.scopes not in found.claims:
            return None
        stated = found.claims[rule.scopes]
        names = set(stated.split(" ")) if isinstance(stated, str) else set(texts(stated))
        resources = self._registry.resources.values()
        return frozenset(Right(entry.url, scope) for entry in resources for scope in entry.scopes if scope in names)


def _user(found: ForeignClaims, rule: UserRule) -> str:
    user = _named(found.claims, rule)
    if rule.subject == "email" and found.claims.get("email_verified") is not True:
        raise malformed("the issuer has not verified the address that would name the user")
    return user


def _named(claims: Mapping[str, object], rule: UserRule) -> str:
    subject = claims.get(rule.subject)
    if not isinstance(subject, str):
        raise malformed("the claim of the subject is missing or is no text")
    try:
        return user_id(rule.alias, subject)
    except InvalidRequest as error:
        raise malformed(str(error)) from None


def _sign_in(found: ForeignClaims, rule: UserRule, now: float) -> SignIn:
    """When and how; where the token does not say when, it was no later than the token itself began."""
    try:
        stated = wire_claims.sign_in(found.claims)
    except InvalidToken as error:
        raise malformed(str(error)) from None
    began = stated.auth_time if stated.auth_time is not None else found.iat
    if began is None or began > now + LEEWAY:
        raise malformed("the user signed in at a time that is still to come")
    if now - began > rule.max_auth_age:
        raise InvalidToken("the user signed in too long ago (max_auth_age)", code=SIGNED_IN_TOO_LONG_AGO)
    return stated
