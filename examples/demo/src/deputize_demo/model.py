"""A chat model that plays a part: offline, and by looking at the conversation, as a model would."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

Calls = list[tuple[str, Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a part sees: who it is told to be, what it was asked, and the results of its tools so far."""

    role: str
    task: str
    results: Sequence[ToolMessage]

    def result(self, tool: str) -> str:
        """The last result of a tool, or nothing."""
        return next((str(message.text) for message in reversed(self.results) if message.name == tool), "")

    @property
    def refused(self) -> bool:
        """True where the last tool that was called was refused."""
        return bool(self.results) and self.results[-1].status == "error"


Part = Callable[[Turn], Awaitable[str | Calls]]


class ScriptedModel(BaseChatModel):
    """`parts`: system prompt to part. A part answers with words, or with the tools that it wants called."""

    parts: Mapping[str, Part]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:  # noqa: ANN401, ARG002  # LangChain's signature
        """The same model: its parts know their tools."""
        return self

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # LangChain's signature
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain's signature
        **kwargs: Any,  # noqa: ANN401, ARG002  # LangChain's signature
    ) -> ChatResult:
        turn = _turn(messages)
        answer = await self.parts[turn.role](turn)
        message = AIMessage(answer) if isinstance(answer, str) else AIMessage("", tool_calls=_calls(answer))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401  # LangChain's signature
        raise NotImplementedError("the demo runs asynchronously")


def _turn(messages: Sequence[BaseMessage]) -> Turn:
    role = next((str(message.text) for message in messages if isinstance(message, SystemMessage)), "")
    asked = max(index for index, message in enumerate(messages) if isinstance(message, HumanMessage))
    results = [message for message in messages[asked + 1 :] if isinstance(message, ToolMessage)]
    return Turn(role=role, task=str(messages[asked].text), results=results)


def _calls(answer: Calls) -> list[Any]:
    return [
        {"name": name, "args": dict(arguments), "id": f"call_{secrets.token_hex(6)}", "type": "tool_call"}
        for name, arguments in answer
    ]
