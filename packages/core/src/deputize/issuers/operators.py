"""Operators, proved by a token of an issuer that `[[operators]]` lists: who it is, and in which role."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from deputize.config import Configuration
from deputize.issuers.keys import keys_of
from deputize.issuers.words import (
    ACCESS_TYPES,
    ID_TYPES,
    LEEWAY,
    UNKNOWN_ISSUER,
    check_id_token,
    groups_in,
    malformed,
)
from deputize.model.clock import Clock
from deputize.model.failure import InvalidToken
from deputize.model.operator import Operator
from deputize.model.rules import OperatorRule
from deputize.wire.foreign_token import claimed_issuer, decode
from deputize.wire.jws import KeyFor

_SUBJECT: Final = re.compile(r"[\x21-\x7e]{1,200}\Z")


class Operators:
    """The `[[operators]]` of a configuration, with the keys of their issuers.

    An access token (`at+jwt`, RFC 9068) has the audience that the rule lists, by default the authority's issuer. An
    ID token is one where the rule lists the client that it was made for.

    Args:
        rules: Who may look and act.
        issuer: The authority's own. What it issues itself is nobody's proof of being an operator.
        names: Issuer -> alias, as `[[users]]` has them, so that one person has one name.
        clock: For the default of `keys`.
        folder: What paths in the rules start from.
        keys: How a rule's keys are found; the default asks the issuer, guardedly (`issuer_keys`).
    """

    def __init__(
        self,
        rules: Iterable[OperatorRule],
        *,
        issuer: str,
        names: dict[str, str],
        clock: Clock,
        folder: Path | None = None,
        keys: Callable[[OperatorRule], KeyFor] | None = None,
    ) -> None:
        found = keys or (lambda rule: keys_of(rule, clock=clock, folder=folder or Path()))
        self._own = issuer
        self._names = names
        self._rules = {rule.issuer: (rule, found(rule)) for rule in rules if rule.issuer != issuer}

    @classmethod
    def of(cls, configuration: Configuration, clock: Clock) -> "Operators":
        """The operators of a configuration; paths start from the folder of its file."""
        return cls(
            configuration.operators,
            issuer=configuration.issuer,
            names={rule.issuer: rule.alias for rule in configuration.user_rules},
            clock=clock,
            folder=Path(configuration.path).parent if configuration.path else Path(),
        )

    def verify(self, token: str, now: float) -> Operator:
        """The operator whom `token` proves at `now` (seconds); without a role where no group of theirs has one.

        The issuer is found by the exact `iss`: a token of an unknown one is refused before anybody is asked anything.
        Raises InvalidToken: `unknown_issuer`, `wrong_token_kind`, `malformed_claims`, and the codes of
        `foreign_token.decode`. Raises AuthorityUnavailable (`issuer_unavailable`).
        """
        known = self._rules.get(claimed_issuer(token))
        if known is None:
            raise InvalidToken("no issuer of operators goes by that name", code=UNKNOWN_ISSUER)
        rule, key_for = known
        found = decode(
            token,
            issuer=rule.issuer,
            audience=rule.audience or (self._own,),
            key_for=key_for,
            now=now,
            leeway=LEEWAY,
            types=ACCESS_TYPES | ID_TYPES,
        )
        if found.typ not in ACCESS_TYPES:
            check_id_token(found)
        subject = found.claims.get(rule.subject)
        if not isinstance(subject, str) or not _SUBJECT.match(subject):
            raise malformed("the claim of the subject is missing or is no printable text")
        if rule.subject == "email" and found.claims.get("email_verified") is not True:
            raise malformed("the issuer has not verified the address that would name the operator")
        return Operator(name=f"{self._name(rule)}|{subject}", role=rule.role_of(groups_in(found, rule.groups_claim)))

    def _name(self, rule: OperatorRule) -> str:
        """The alias of the issuer's users, else where it is: two issuers never share one."""
        alias = self._names.get(rule.issuer)
        place = rule.issuer.removeprefix("https://")
        return alias or (place if "." in place.partition("/")[0] else rule.issuer)
