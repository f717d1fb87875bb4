"""Tools that guard themselves: for graphs without middleware, and for tools that code calls directly."""

import threading
import types
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from deputize.errors import ConfigurationError, DeputizeError
from langchain_deputize.guard import Call, Guard, Spec, already_guarded, answer, parent_of, session_of
from langchain_deputize.handler import make_ambient
from langchain_deputize.steps import adrive, drive

T = TypeVar("T", bound=BaseTool)

_CALLBACKS: Final = 3  # position of `callbacks` among the arguments of BaseTool.run after `tool_input`
_classes: Final[dict[type[BaseTool], type[BaseTool]]] = {}
_making: Final = threading.Lock()


class _Guarded(BaseTool):
    """Mixed in front of a tool's own class: asks before `run` and `arun`, and changes nothing else."""

    _deputize: Spec = PrivateAttr(default_factory=Spec)

    def run(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # what a tool returns is its own
        call = _call_of(self, tool_input, args, kwargs)
        if already_guarded(call):
            return super().run(tool_input, *args, **kwargs)
        try:
            with Guard(call, drive(session_of(call)), self) as guard:
                return guard.checked(super().run(tool_input, *args, **kwargs))
        except DeputizeError as error:
            return answer(call, error)

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # what a tool returns is its own
        call = _call_of(self, tool_input, args, kwargs)
        if already_guarded(call):
            return await super().arun(tool_input, *args, **kwargs)
        try:
            async with Guard(call, await adrive(session_of(call)), self) as guard:
                return guard.checked(await super().arun(tool_input, *args, **kwargs))
        except DeputizeError as error:
            return answer(call, error)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickled as the tool that it guards and what it was told: the class exists only in this process."""
        plain = self.model_copy()
        object.__setattr__(plain, "__class__", type(self).__mro__[2])
        return (_secure, (plain, self._deputize))


def secure_tool(
    tool: T,
    *,
    scopes: Sequence[str] | None = None,
    resource: str | None = None,
    name: str | None = None,
    handoff_to: str | Sequence[str] | None = None,
) -> T:
    """The same tool, same class, same schema, guarded. The original is left as it is.

    For `ToolNode`, `create_react_agent` and direct calls; where middleware guards the call too, one of the two
    asks. A refusal is a ToolMessage with status "error" where the call has an id, an exception otherwise.

    Args:
        tool: Any LangChain tool.
        scopes: What one call needs, where the registry does not say.
        resource: Where it acts, alias or URL; left out, the registry's, or the agent's own process.
        name: What the registry and the record know it as, where that is not its own name.
        handoff_to: The agent, or agents, that its function runs: it needs `delegate` to one of them, and nothing else.
    """
    if not isinstance(tool, BaseTool):
        raise ConfigurationError("secure_tool takes a LangChain tool; make one of a function with @tool first")
    if not all(_is_langchains(type(tool), method) for method in ("invoke", "ainvoke")):
        raise ConfigurationError(
            f'"{tool.name[:64]}" has an invoke() of its own, which need not go through the guarded run(): '
            "put DeputizeMiddleware on its agent, or override run() or _run() instead"
        )
    to = (handoff_to,) if isinstance(handoff_to, str) else tuple(handoff_to or ())
    spec = Spec(scopes=tuple(scopes) if scopes is not None else None, resource=resource, name=name, handoff_to=to)
    return _secure(tool, spec)


def secure_tools(tools: Sequence[T], **kw: object) -> list[T]:
    """`secure_tool` for each of them, with the same arguments."""
    return [secure_tool(tool, **cast("dict[str, Any]", kw)) for tool in tools]


def spec_of(tool: BaseTool) -> Spec:
    """What `secure_tool` was told about this tool."""
    return tool._deputize if isinstance(tool, _Guarded) else Spec()  # noqa: SLF001  # ours


def is_guarded(tool: BaseTool) -> bool:
    """Whether `secure_tool` made it."""
    return isinstance(tool, _Guarded)


def _is_langchains(kind: type[BaseTool], method: str) -> bool:
    owner = next(base for base in kind.__mro__ if method in vars(base))
    return owner.__module__.startswith("langchain_core.")


def _secure(tool: T, spec: Spec) -> T:
    make_ambient()
    copy = tool.model_copy()
    if not isinstance(copy, _Guarded):
        object.__setattr__(copy, "__class__", _class_for(type(tool)))
    if copy.__pydantic_private__ is None:
        object.__setattr__(copy, "__pydantic_private__", {})
    cast("_Guarded", copy)._deputize = spec  # noqa: SLF001  # ours
    return copy


def _class_for(base: type[BaseTool]) -> type[BaseTool]:
    with _making:
        guarded = _classes.get(base)
        if guarded is None:
            namespace = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
            guarded = _classes[base] = types.new_class(
                base.__name__, (_Guarded, base), exec_body=lambda ns: ns.update(namespace)
            )
        return guarded


def _call_of(tool: _Guarded, tool_input: str | dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    callbacks = kwargs.get("callbacks", args[_CALLBACKS] if len(args) > _CALLBACKS else None)
    if isinstance(tool_input, dict):
        shown = {name: value for name, value in tool_input.items() if name in tool.args}
    else:
        shown = {"input": tool_input}
    return Call(
        tool=tool.name,
        call_id=kwargs.get("tool_call_id"),
        args=shown,
        parent=parent_of(callbacks),
        spec=tool._deputize,  # noqa: SLF001  # ours
    )
