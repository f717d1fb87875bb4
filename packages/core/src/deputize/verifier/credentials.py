"""What a request presents: one token, by one scheme, with at most one proof (RFC 6750 §2.1, RFC 9449 §7.1)."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from deputize.model.failure import InvalidRequest, InvalidToken

MISSING: Final = "missing_token"

Text = str | bytes
Headers = Mapping[str, str] | Iterable[tuple[Text, Text]]
Scheme = Literal["bearer", "dpop"]


class Presented(NamedTuple):
    """A token as it was sent; left out of `repr`."""

    token: str
    scheme: Scheme
    proof: str | None = None

    def __repr__(self) -> str:
        return f"Presented({self.scheme})"


def presented(source: str | Headers, proof: str | None) -> Presented:
    """Read a bare token (with a `proof`: as DPoP) or the headers of a request.

    Raises InvalidToken (`missing_token`); InvalidRequest where a header is given twice.
    """
    if isinstance(source, str):
        return Presented(source, "bearer" if proof is None else "dpop", proof)
    authorization, found = _pick(source)
    if authorization is None:
        raise InvalidToken("the request has no token", code=MISSING)
    if proof is not None and found is not None:
        raise InvalidRequest("a request has one proof")
    scheme, _, token = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return Presented(token.strip(), "bearer", proof or found)
        case "dpop":
            return Presented(token.strip(), "dpop", proof or found)
        case _:
            raise InvalidToken("the request has no token", code=MISSING)


def _pick(headers: Headers) -> tuple[str | None, str | None]:
    """`Authorization` and `DPoP`, whatever their case, from a mapping or from pairs as ASGI has them."""
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = _text(name).lower()
        if key in {"authorization", "dpop"}:
            if key in found:
                raise InvalidRequest("a request has one Authorization header and one proof")
            found[key] = _text(value)
    return found.get("authorization"), found.get("dpop")


def _text(part: Text) -> str:
    return part if isinstance(part, str) else part.decode("latin-1")
