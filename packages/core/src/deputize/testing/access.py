"""The body of a tool, tested alone: an access is there, and no agent is needed to get it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deputize.facade.access import Access
from deputize.testing.authority import FakeAuthority


@contextmanager
def mock_access(resource: str, scopes: Sequence[str], *, token: str | None = None) -> Iterator[Access]:
    """Inside, `current_access()` is for `resource` (URL) and `scopes`, as in the body of a guarded tool.

        with mock_access("https://crm.example/mcp", ["crm:read"], token="t"):
            read_customers.invoke({})

    `token` is what is sent; left out, one that looks real and that no server accepts. All that an Access refuses it
    refuses here too: another resource, another origin, being printed. There is no session: a tool that is guarded
    itself, and `current_session()`, need one of a `FakeAuthority`.
    """
    mint = None if token is None else lambda _resource, _scopes: token
    with FakeAuthority(agents={"tested": list(scopes)}, resources={resource: list(scopes)}, mint=mint) as authority:
        session = authority.session(user="tester", agent="tested")
        with session.tool_call("tested", scopes=scopes, resource=resource) as call:
            yield call.access()
