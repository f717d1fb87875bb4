"""The middleware: guards every tool call of the agent that it is put on."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, Self, cast

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langgraph.types import Command

from deputize import Authority, Session
from deputize.errors import ConfigurationError, DeputizeError
from deputize.runtime import ambient_session, is_refusal
from langchain_deputize.guard import Call, Guard, Spec, already_guarded, answer, parent_of, session_of
from langchain_deputize.handler import make_ambient
from langchain_deputize.handoffs import hand_off_of
from langchain_deputize.nesting import WATCH
from langchain_deputize.roots import Root, Subject, outside, refuse_second
from langchain_deputize.runs import Run
from langchain_deputize.steps import Step, Work, adrive, done, drive
from langchain_deputize.tools import spec_of

Result = ToolMessage | Command[Any]


class DeputizeMiddleware(AgentMiddleware[Any, Any, Any]):
    """Guards every tool call of the agent it is put on. Stateless: one object may serve all agents and users.

    Its `wrap_tool_call` and `awrap_tool_call` may also be given to a `ToolNode` of your own.

    Args:
        authority: With `agent` and `subject`, where no `with` can stand and this agent is the whole graph: the
            session is opened here. An Authority, or the path of its configuration. Prefer `secure(graph)`.
        agent: The agent that this middleware is put on.
        subject: The user, from the RunnableConfig; None refuses.
        on_denied: "message" (the model reads code, policy and reference) | "raise".
        hide_denied_tools: Show the model only tools that it might use now. A dry run; nothing is recorded.
        persona_key: A member of the state that names the agent which one graph acts as at this step.
        handoffs: Tools that hand on to other agents, as `{"ask_research": "research"}`: for agents wrapped in a
            plain function. Such a tool needs `delegate` and nothing else.
    """

    def __new__(cls, *, hide_denied_tools: bool = False, **_: object) -> Self:
        """One that hides tools has hooks around the model, too."""
        kind: type[DeputizeMiddleware] = cls
        return cast("Self", object.__new__(_hiding(kind) if hide_denied_tools else kind))

    def __init__(
        self,
        *,
        authority: Authority | str | None = None,
        agent: str | None = None,
        subject: Subject | None = None,
        on_denied: str = "message",
        hide_denied_tools: bool = False,  # noqa: ARG002  # chose the class
        persona_key: str | None = None,
        handoffs: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if on_denied not in {"message", "raise"}:
            raise ConfigurationError('on_denied is "message" or "raise"', key="on_denied")
        if (authority is None) is not (agent is None) or (authority is None) is not (subject is None):
            raise ConfigurationError("authority, agent and subject are given together or not at all", key="authority")
        self.tools = ()
        self._root = (
            Root(authority, agent, subject)
            if authority is not None and agent is not None and subject is not None
            else None
        )
        self._raise = on_denied == "raise"
        self._persona_key = persona_key
        self._handoffs = dict(handoffs or {})
        make_ambient()
        if self._root is not None:
            WATCH.watch()

    @property
    def name(self) -> str:
        """As LangChain tells middleware apart."""
        return "DeputizeMiddleware"

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        """Permit, run, record; or answer with the refusal."""
        call = _call_of(request)
        if already_guarded(call):
            return handler(request)
        try:
            with ExitStack() as stack:
                session = drive(self._session(request, call, stack))
                with self._guard(request, call, session) as guard:
                    return guard.checked(handler(request))  # type: ignore[no-any-return]  # what the handler returned
        except DeputizeError as error:
            return self._answer(call, error)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """Permit, run, record; or answer with the refusal."""
        call = _call_of(request)
        if already_guarded(call):
            return await handler(request)
        try:
            async with AsyncExitStack() as stack:
                session = await adrive(self._session(request, call, stack))
                async with self._guard(request, call, session) as guard:
                    return guard.checked(await handler(request))  # type: ignore[no-any-return]  # as above
        except DeputizeError as error:
            return self._answer(call, error)

    def _guard(self, request: ToolCallRequest, call: Call, session: Session) -> Guard:
        to = self._handoffs.get(call.tool)
        return Guard(call, session, request.tool, declared=(to,) if to is not None else ())

    def _answer(self, call: Call, error: DeputizeError) -> ToolMessage:
        if self._raise:
            raise error
        return answer(call, error)

    def _session(self, request: ToolCallRequest, call: Call, stack: ExitStack | AsyncExitStack) -> Work[Session]:
        if call.parent is not None or ambient_session() is not None:
            session = yield from session_of(call)
        else:
            session = yield from self._opened(call, request.runtime.config, stack)
        persona = _member(request.state, self._persona_key)
        if persona is None or persona == session.name:
            return session
        return (yield from done(session, partial(session.delegate, persona, key=f"persona:{persona}")))

    def _opened(self, call: Call, config: Mapping[str, Any], stack: ExitStack | AsyncExitStack) -> Work[Session]:
        """No handler saw this run: the session is this middleware's to open, or there is none."""
        if self._root is None:
            raise outside(call.tool)
        refuse_second(config, self._root.agent)
        root = self._root
        opened: tuple[Session, bool] = yield Step(partial(root.open, config), partial(root.aopen, config), waits=True)
        session, of_thread = opened
        if of_thread:
            return session
        # nothing says when such a run ends: the session lives for this call
        if isinstance(stack, AsyncExitStack):
            stack.push_async_callback(session.aclose)
        else:
            stack.callback(session.close)
        return session


def _call_of(request: ToolCallRequest) -> Call:
    tool_call = request.tool_call
    return Call(
        tool=tool_call["name"],
        call_id=tool_call["id"],
        args=tool_call["args"],
        parent=parent_of(request.runtime.config.get("callbacks")),
        spec=spec_of(request.tool) if request.tool is not None else Spec(),
    )


def _member(state: object, key: str | None) -> str | None:
    if key is None:
        return None
    value = state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    return value if isinstance(value, str) else None


class _HidesTools(DeputizeMiddleware):
    """With `hide_denied_tools`: LangChain looks at the class for which hooks to call, and traces each."""

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Hide what would be refused."""
        return handler(self._shown(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Hide what would be refused."""
        return await handler(await asyncio.to_thread(self._shown, request))

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Fail closed: without a session no tool is shown."""
        parent = parent_of(ensure_config().get("callbacks"))
        shown = [tool for tool in request.tools if not isinstance(tool, BaseTool) or self._might_use(tool, parent)]
        return request if len(shown) == len(request.tools) else request.override(tools=shown)

    def _might_use(self, tool: BaseTool, parent: Run | None) -> bool:
        call = Call(tool=tool.name, call_id=None, args={}, parent=parent, spec=spec_of(tool))
        to = self._handoffs.get(tool.name)
        declared = (to,) if to is not None else call.spec.handoff_to
        try:
            session = drive(session_of(call))
            resource = call.spec.resource
            handoff = hand_off_of(tool, call.known_as, {}, session, resource=resource, declared=declared)
            return handoff is not None or _permits(session, call)  # a hand-off is decided when it is called
        except DeputizeError as error:
            if is_refusal(error):
                return False
            raise


def _permits(session: Session, call: Call) -> bool:
    """What its ceiling holds and policy would permit now: a dry run."""
    entry = session.authority.tool(call.known_as, call.spec.resource)
    scopes = call.spec.scopes if call.spec.scopes is not None else tuple(entry.scopes)
    held = {right.scope for right in session.rights if right.resource == entry.resource.url}
    if not held.issuperset(scopes):
        return False
    chain = tuple(reversed(session.chain)) or (session.agent,)
    user = session.subject if "|" in session.subject else None
    asked = session.authority.explain(
        chain=chain, tool=call.known_as, scopes=scopes, resource=entry.resource.url, user=user
    )
    return not scopes or asked.allowed


def _hiding(kind: type[DeputizeMiddleware]) -> type[DeputizeMiddleware]:
    if issubclass(kind, _HidesTools):
        return kind
    return _HidesTools if kind is DeputizeMiddleware else types.new_class(kind.__name__, (kind, _HidesTools))
