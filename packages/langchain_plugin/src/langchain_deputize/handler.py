"""The callback handler: sees agents run, hands sessions on, and refuses a tool that no guard saw."""
# ruff: noqa: ARG002, ANN401  # the signatures are LangChain's

import asyncio
import sys
import threading
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final, Self, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from deputize import Session
from deputize.errors import ConfigurationError, Denied, DeputizeError, InvalidRequest
from deputize.runtime import ambient_session, current_call, no_session, on_enter, refused
from langchain_deputize.binding import (
    announce,
    bind,
    ended,
    enter_graph,
    is_registered,
    note_unnamed,
    refuse_unguarded,
)
from langchain_deputize.commands import hands_off
from langchain_deputize.companion import Companion, comes_next
from langchain_deputize.marks import marked
from langchain_deputize.nesting import STEP, WATCH, Nesting
from langchain_deputize.places import number
from langchain_deputize.runs import RUNS, Kind, Run, innermost, node_around, session_at
from langchain_deputize.steps import Work, perform

HANDOFF: Final = "__handoff_destination"  # metadata of langgraph-supervisor's and langgraph-swarm's hand-off tools
_PUSH: Final = "__pregel_push"  # begins the path of a task that `Send` asked for


class DeputizeCallbackHandler(BaseCallbackHandler):
    """Keeps the delegation tree beside LangChain's run tree, and is the fail-closed backstop of the guards.

    Ambient inside `with authority.session(...)`; given by hand, in `callbacks=[...]`, for code that outlives the
    `with`, or to register names. One object may serve many runs at once: it holds nothing of them.

    Args:
        session: The root of what runs under this handler; left out, the ambient session when the run starts.
        agents: Agents that LangChain has no name for: `{"writer": "writer"}` for a graph or a hand-written node
            of that name, `{"@supervisor_tools": "researcher"}` for a graph that is started in that node.
        unguarded: "deny" refuses a tool that neither middleware nor `secure_tool` guards; "record" only notes it.
    """

    raise_error = True  # a refusal has to stop the tool; LangChain swallows it otherwise
    run_inline = True  # in async programs handlers would run in another thread, without the guard's context

    def __init__(
        self, session: Session | None = None, *, agents: Mapping[str, str] | None = None, unguarded: str = "deny"
    ) -> None:
        if unguarded not in {"deny", "record"}:
            raise ConfigurationError('unguarded is "deny" or "record"', key="unguarded")
        self._session = session
        self._agents = dict(agents or {})
        self._unguarded = unguarded
        make_ambient()

    @property
    def has_session(self) -> bool:
        """Whether it was given the root of what runs under it."""
        return self._session is not None

    @property
    def ignore_retry(self) -> bool:
        """Retries are runs of their own."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Nothing of ours travels by custom events."""
        return True

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain, a graph or a task of a graph starts. Raises Denied where its agent may not run."""
        run = self._start(run_id, parent_run_id, "chain", str(kwargs.get("name") or ""), metadata)
        if run is None:
            return
        run.task = any(tag.startswith(STEP) for tag in tags or ())
        if not run.task:
            number(run)
        _perform(_unless_refused(run_id, _chain(run)))

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """A chain ended."""
        _perform(ended(run_id, None))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A chain ended by an exception: also by ParentCommand, GraphInterrupt, GeneratorExit and CancelledError."""
        _perform(ended(run_id, error))

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is about to run. Raises Denied (`tool_unguarded`) where no guard let it through."""
        name = str((serialized or {}).get("name") or kwargs.get("name") or "")
        run = self._start(run_id, parent_run_id, "tool", name, metadata)
        if run is None:
            return
        run.call_id = _text(kwargs.get("tool_call_id"))
        if run.call_id is None:
            number(run)
        description = (inputs or {}).get("description")
        run.description = description if name == "task" and isinstance(description, str) else None
        mark = marked(run.parent, name, run.call_id)
        if mark is not None:
            run.session = mark.session
            mark.runs.append(run_id)
            return
        _perform(_unless_refused(run_id, self._backstop(run, (metadata or {}).get(HANDOFF), inputs)))

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool ended: its result may be a hand-off."""
        run = RUNS.get(run_id)
        if run is not None:
            _perform(self._tool(run, run_id, output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool ended by an exception."""
        _perform(ended(run_id, error))

    # What may have runs below it is told of too, or those would look like top-level calls.

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chat model is called."""
        self._start(run_id, parent_run_id, "other", "", metadata)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A completion model is called."""
        self._start(run_id, parent_run_id, "other", "", metadata)

    def on_llm_end(self, response: object, *, run_id: UUID, **kwargs: Any) -> None:
        """A model answered."""
        RUNS.remove(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A model call failed."""
        RUNS.remove(run_id)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A retriever is called."""
        self._start(run_id, parent_run_id, "other", "", metadata)

    def on_retriever_end(self, documents: Sequence[object], *, run_id: UUID, **kwargs: Any) -> None:
        """A retriever answered."""
        RUNS.remove(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A retriever failed."""
        RUNS.remove(run_id)

    def _start(
        self, run_id: UUID, parent_run_id: UUID | None, kind: Kind, name: str, metadata: dict[str, Any] | None
    ) -> Run | None:
        """The new run, or None where another handler has told of it."""
        parent = RUNS.enclosing(parent_run_id)
        known = RUNS.get(run_id)
        if known is not None:
            self._check_same(known, parent)
            known.agents = {**known.agents, **self._agents}
            return None
        agents = {**parent.agents, **self._agents} if parent is not None else self._agents
        run = Run(id=UUID(int=run_id.int), parent=parent, kind=kind, name=name, agents=agents)
        if metadata:
            run.label = _text(metadata.get("lc_agent_name"))
            run.where = _text(metadata.get("langgraph_node"))
            run.ns = _text(metadata.get("langgraph_checkpoint_ns"))
            run.thread = _text(metadata.get("thread_id"))
            path = metadata.get("langgraph_path")
            run.pushed = isinstance(path, list | tuple) and _PUSH in path[:1]
        if run.where is None:  # LangGraph 1.2.0 drops it where a call has callbacks of its own
            run.where = node_around(parent)
        if parent is None:
            run.base = innermost(self._session, ambient_session())
            run.teller = _teller()
            call = current_call()
            run.inside = call is not None and run.base is not None and call.session.id == run.base.id
        return run if RUNS.add(run, run_id) else None

    def _check_same(self, known: Run, parent: Run | None) -> None:
        """Hosts let clients choose the `run_id` of a run; no two runs may become one, or one user acts as the other."""
        if known.parent is parent:
            if parent is not None:
                return
            base = innermost(self._session, ambient_session())
            one_session = base is None or known.base is None or base.id == known.base.id
            if one_session and known.teller == _teller():
                return
        raise InvalidRequest("a run of this run_id goes on already, or two handlers give it different sessions")

    def _tool(self, run: Run, run_id: UUID, output: object) -> Work[None]:
        try:
            if run.expects is not None and not hands_off(output, frozenset({run.expects})):
                yield from self._refuse(run)
            yield from announce(run, output)
        finally:
            yield from ended(run_id, None)

    def _backstop(self, run: Run, destination: object, inputs: dict[str, Any] | None) -> Work[None]:
        try:
            session = session_at(run)
        except DeputizeError as error:
            yield from note_unnamed(run, run.name, run.call_id, error)
            raise
        if session is None:
            raise no_session(f'tool "{run.name[:64]}" was called outside a delegated session; nothing was executed')
        # A hand-off tool of langgraph-supervisor sits where no guard can: it takes nothing that a model wrote, its
        # result is checked, and the hand-off itself is decided when the other agent runs.
        if isinstance(destination, str) and not inputs and _is_agent(run, session, destination):
            run.expects = destination
            return
        yield from self._refuse(run)

    def _refuse(self, run: Run) -> Work[None]:
        session = session_at(run)
        if session is not None:
            yield from refuse_unguarded(run, session)
        if self._unguarded == "deny":
            raise _unguarded(run)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"DeputizeCallbackHandler(session={self._session!r})"


def _chain(run: Run) -> Work[None]:
    """Whose run it is that starts."""
    if run.task:
        if run.parent is not None:
            yield from enter_graph(run.parent)
        if run.name in run.agents:
            yield from bind(run, run.agents[run.name])
    elif run.label is not None and run.label == run.name:
        yield from bind(run, run.agents.get(run.label, run.label))


def _unless_refused(run_id: UUID, work: Work[None]) -> Work[None]:
    """LangChain tells of no end of a run whose start was refused."""
    try:
        yield from work
    except BaseException:
        RUNS.remove(run_id)
        raise


def _perform(work: Work[None]) -> None:
    """Called by a callback alone, so that two frames up is who called that."""
    caller = sys._getframe(2)  # noqa: SLF001  # a handler is told by nothing else whether it is awaited
    perform(work, leave=lambda: comes_next(caller))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _teller() -> object:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop in this thread
        task = None
    return threading.get_ident(), id(task)


def _is_agent(run: Run, session: Session, destination: str) -> bool:
    """Metadata prove nothing, a server may have written them: it has to be an agent, and the tool no known tool."""
    agent = session.authority.registry.agent(run.agents.get(destination, destination))
    return agent is not None and not is_registered(run.name, None, session)


def _unguarded(run: Run) -> Denied:
    return refused(
        Denied,
        "tool_unguarded",
        asked=f'tool "{run.name[:64]}" was about to run without a guard',
        enough="DeputizeMiddleware() on its agent, or secure_tool(...) around it",
        reference=run.call_id or "",
    )


class _WhileAmbient:
    """What LangChain's configure hook reads: the ambient handler, exactly while a session is ambient.

    LangChain asks a ContextVar for `get()` and for nothing else. This one answers from the session's own
    ContextVar, so it is right in every context, also where the `with` began before this module was imported.
    """

    def __init__(self) -> None:
        self._handler: DeputizeCallbackHandler | None = None

    def get(self) -> DeputizeCallbackHandler | None:
        """The handler, or None outside a session."""
        if ambient_session() is None:
            return None
        if self._handler is None:
            self._handler = DeputizeCallbackHandler()
        return self._handler


class _Companions:
    """A companion behind the handlers of each call: a new one each time, for a call may bring handlers of its own."""

    def get(self) -> Companion:
        """See `_WhileAmbient`."""
        return Companion()


_AMBIENT: Final = _WhileAmbient()
_MADE: Final = Lock()
_made = False


def make_ambient() -> None:
    """Register the hook with LangChain, once. Not done at import: LangChain's module for it loads LangSmith."""
    global _made  # noqa: PLW0603  # LangChain's list of hooks is as global, and can't be asked
    with _MADE:
        if _made:
            return
        from langchain_core.tracers.context import register_configure_hook  # noqa: PLC0415  # 1 s of import

        register_configure_hook(cast("Any", _AMBIENT), inheritable=True, handle_class=DeputizeCallbackHandler)
        register_configure_hook(cast("Any", WATCH), inheritable=True, handle_class=Nesting)
        register_configure_hook(cast("Any", _Companions()), inheritable=True)
        _made = True


def _on_enter(session: Session) -> None:
    del session
    make_ambient()


on_enter(_on_enter)
if ambient_session() is not None:
    make_ambient()
