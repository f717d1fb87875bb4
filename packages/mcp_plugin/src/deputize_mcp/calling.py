"""Who calls, inside a tool."""

from contextvars import ContextVar, Token

from deputize.errors import Denial, NoSession
from deputize.verifier import Caller

_CALLER: "ContextVar[Caller | None]" = ContextVar("deputize_mcp_caller", default=None)


def get_caller() -> Caller:
    """The verified caller of the running request, in async tools and in sync ones. Raises NoSession elsewhere.

    In a thread pool of your own wrap the function with `carry`.
    """
    caller = _CALLER.get()
    if caller is None:
        raise NoSession(
            Denial(
                code="no_session",
                policy=None,
                asked="get_caller() was called where no guarded request runs",
                enough="AgentGuard around the application",
                hint="in a thread pool of your own, wrap the function with deputize_mcp.carry",
            )
        )
    return caller


def enter(caller: Caller) -> "Token[Caller | None]":
    """Make `caller` the caller of what runs from here."""
    return _CALLER.set(caller)


def leave(token: "Token[Caller | None]") -> None:
    """Back to what was before."""
    _CALLER.reset(token)
