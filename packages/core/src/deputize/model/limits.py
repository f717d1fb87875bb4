"""The limits of an authority. Durations are whole seconds. API.md, `[limits]`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A request above a limit is refused; a default is cut to what the parent has left."""

    session_ttl: int = 3600
    session_ttl_max: int = 8 * 3600
    session_token_ttl: int = 15 * 60
    access_ttl: int = 5 * 60
    access_ttl_bearer: int = 60
    impersonation_ttl_max: int = 2 * 60
    identity_ttl: int = 15 * 60
    depth_max: int = 4
    children_max: int = 1000
    tree_max: int = 10_000
    revocation_lag_max: int = 10
