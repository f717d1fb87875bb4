"""The current session and access, as code under LangChain asks for them."""

from deputize import Access, Session
from deputize import runtime as deputize_runtime
from deputize.runtime import ambient_session, current_call, no_session
from langchain_deputize.handler import DeputizeCallbackHandler
from langchain_deputize.runs import RUNS, session_at

__all__ = ["acurrent_access", "current_access", "current_session", "session_config"]


def current_session() -> Session:
    """The session of the agent that the running code belongs to, in tools and in nodes alike. Raises NoSession.

    In the body of a guarded tool `deputize.runtime.current_session` says the same. In a node of a graph only this
    one does: callbacks can set nothing there, so the run tree is asked.
    """
    run = RUNS.enclosing(None)
    session = session_at(run) if run is not None else ambient_session()
    if session is None:
        raise no_session("current_session() was called outside a delegated session")
    return session


def current_access(resource: str | None = None) -> Access:
    """Access for the tool call that is running: minted on first use, then the same one.

    `resource` (alias or URL) may be left out where the tool lives at one. Raises NoSession outside a guarded tool
    call, also in another agent that such a call runs; Denied where the call's scopes do not reach.
    """
    _check_whose()
    return deputize_runtime.current_access(resource)


async def acurrent_access(resource: str | None = None) -> Access:
    """`current_access`, without blocking the loop."""
    _check_whose()
    call = current_call()
    if call is None:
        return deputize_runtime.current_access(resource)  # raises
    return await call.session.authority.run(lambda: call.access(resource))


def _check_whose() -> None:
    call, run = current_call(), RUNS.enclosing(None)
    if call is not None and run is not None:
        session = session_at(run)
        if session is None or session.id != call.session.id:
            raise no_session("the tool call that is running is another agent's; nothing was issued")


def session_config(session: Session, **configurable: object) -> dict[str, object]:
    """A RunnableConfig for code that outlives a `with`: streams, background runs. Carries no secret.

    `configurable` goes into the config's own `configurable`, as in `session_config(session, thread_id="t1")`.
    """
    config: dict[str, object] = {"callbacks": [DeputizeCallbackHandler(session)]}
    if configurable:
        config["configurable"] = dict(configurable)
    return config
