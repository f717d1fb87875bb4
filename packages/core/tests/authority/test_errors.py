"""Errors are data: they cross a process pool whole, and each has one place over HTTP."""

import copy
import pickle  # noqa: TID251  # an error that crosses a process pool is

import pytest

from deputize.errors import (
    AuthorityUnavailable,
    ConfigurationError,
    Denial,
    Denied,
    DeputizeError,
    InvalidRequest,
    InvalidToken,
    SessionEnded,
    StoreError,
    oauth_error,
)

DENIAL = Denial(code="access_denied", policy="p", asked="a", enough="e", reference="D-1")
ERRORS = [
    Denied(DENIAL),
    SessionEnded(DENIAL),
    InvalidToken("no", code="token_expired", reference="D-2"),
    ConfigurationError("wrong", path="deputize.toml", line=3, key="a.b"),
    AuthorityUnavailable("later", retry_after=2.5),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_a_process_pool_and_a_copy(error: DeputizeError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  # our own bytes
        assert type(other) is type(error)
        assert (str(other), vars(other)) == (str(error), vars(error))


@pytest.mark.requirement("TX-07")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Denied(DENIAL), (400, "invalid_request")),
        (InvalidToken("no"), (400, "invalid_request")),
        (InvalidRequest("no", code="invalid_target"), (400, "invalid_target")),
        (InvalidRequest("no", code="invalid_scope"), (400, "invalid_scope")),
        (InvalidToken("no", code="agent_suspended"), (401, "invalid_client")),
        (StoreError("no"), (503, "temporarily_unavailable")),
        (DeputizeError("no"), (500, "server_error")),
    ],
)
def test_one_table_says_what_an_error_is_over_http(error: DeputizeError, expected: tuple[int, str]) -> None:
    answer = oauth_error(error)
    assert (answer.status, answer.error) == expected
