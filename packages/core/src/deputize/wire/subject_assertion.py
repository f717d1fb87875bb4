"""Subject assertions: the host of an agent names a user who is not present by a token of their own.

It is evidence of who asked and for whom, never a right: whether an asserted user may be acted for, policy decides.
"""

from typing import Final

from deputize.model.failure import InvalidRequest
from deputize.model.identity import user_id
from deputize.model.token import SUBJECT_ASSERTION_TYP, SubjectAssertion
from deputize.wire import self_signed
from deputize.wire.alg import SigningKey, VerifyingKey
from deputize.wire.claims import moment, text
from deputize.wire.refusal import malformed

TOKEN_TYPE: Final = "urn:deputize:params:oauth:token-type:subject-assertion"  # noqa: S105  # a type's name


def encode(key: SigningKey, *, agent: str, user: str, issuer: str, now: float, jti: str | None = None) -> str:
    """Signed by the agent's identity key, for one minute and `issuer` alone. `user` is `<alias>|<sub>`.

    Raises InvalidRequest for what is no user.
    """
    _check_user(user)
    return self_signed.encode(SUBJECT_ASSERTION_TYP, key, iss=agent, sub=user, aud=issuer, now=now, jti=jti)


def decode(token: str, *, agent: str, issuer: str, key: VerifyingKey, now: float) -> SubjectAssertion:
    """What `agent`, whose identity confirms `key`, asserts at `now` (seconds). Raises InvalidToken.

    Whoever accepts it spends (agent, `jti`) until `exp`.
    """
    claims = self_signed.decode(token, typ=SUBJECT_ASSERTION_TYP, iss=agent, audience=issuer, key=key, now=now)
    try:
        user = _check_user(text(claims, "sub"))
    except InvalidRequest:
        raise malformed("the subject of an assertion is no user") from None
    return SubjectAssertion(agent=agent, user=user, jti=text(claims, "jti"), exp=moment(claims, "exp"))


def _check_user(user: str) -> str:
    alias, _, sub = user.partition("|")
    return user_id(alias, sub)
