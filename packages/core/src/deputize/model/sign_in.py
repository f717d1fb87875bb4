"""When and how a user signed in, as their issuer said it: fixed for everything that follows (RFC 9068 §2.2.1)."""

from dataclasses import dataclass
from typing import Final

from deputize.model.failure import InvalidRequest

MAX_TEXT: Final = 256  # characters of an acr, and of each amr
MAX_METHODS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What is known of a sign-in. Raises InvalidRequest above the limits, since every token below carries it.

    Attributes:
        auth_time: When, in seconds since the epoch (OpenID Connect Core §2).
        acr: How strongly, in the issuer's own words.
        amr: By which methods (RFC 8176).
    """

    auth_time: int | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts = (*self.amr, *(() if self.acr is None else (self.acr,)))
        if len(self.amr) > MAX_METHODS or not all(0 < len(text) <= MAX_TEXT for text in texts):
            raise InvalidRequest(f"acr and amr are texts of 1-{MAX_TEXT} characters, and amr has at most {MAX_METHODS}")


NO_SIGN_IN: Final = SignIn()
