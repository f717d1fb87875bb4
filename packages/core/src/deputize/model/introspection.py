"""What introspection tells of a token (RFC 7662 §2.2)."""

from dataclasses import dataclass

from deputize.model.sign_in import NO_SIGN_IN, SignIn


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspection:
    """`active` alone where it is not. `chain`: outermost actor first, impersonators included."""

    active: bool
    token_type: str | None = None
    sub: str | None = None
    aud: str | None = None
    client_id: str | None = None
    chain: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    sid: str | None = None
    txn: str | None = None
    jti: str | None = None
    iat: int | None = None
    exp: int | None = None
    jkt: str | None = None
    mode: str | None = None
    iss: str | None = None
    sign_in: SignIn = NO_SIGN_IN  # -> `auth_time`, `acr`, `amr`


INACTIVE = Introspection(active=False)
