"""A chat model that plays a part: offline, and by looking at the conversation, as a model would."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

Calls = list[tuple[str, Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a part sees: what it was asked, and the results of tools since."""

    task: str
    results: Sequence[ToolMessage]

    def result(self, tool: str) -> str:
        """The last result of a tool, refusals too; nothing where it was never called."""
        return next((str(message.text) for message in reversed(self.results) if message.name == tool), "")

    @property
    def refused(self) -> bool:
        """True where the tool that was called last was refused."""
        return bool(self.results) and self.results[-1].status == "error"

    @property
    def last(self) -> str:
        """The tool that was called last, or nothing."""
        return (self.results[-1].name or "") if self.results else ""

    def order(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """An order to a model that stands in what a tool read: it is obeyed, as models do."""
        return next((found for message in self.results if (found := pattern.search(str(message.text)))), None)


Part = Callable[[Turn], str | Calls]


class ScriptedModel(BaseChatModel):
    """`parts`: system prompt to part. A part answers with words, or with the tools that it wants called."""

    parts: Mapping[str, Part]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:  # noqa: ANN401, ARG002  # LangChain's signature
        """The same model: its parts know their tools."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # LangChain's signature
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain's signature
        **kwargs: Any,  # noqa: ANN401, ARG002  # LangChain's signature
    ) -> ChatResult:
        role = next((str(message.text) for message in messages if isinstance(message, SystemMessage)), "")
        answer = self.parts[role](_turn(messages))
        message = AIMessage(answer) if isinstance(answer, str) else AIMessage("", tool_calls=_tool_calls(answer))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain's signature
        **kwargs: Any,  # noqa: ANN401  # LangChain's signature
    ) -> ChatResult:
        return self._generate(messages, stop, **kwargs)


def _turn(messages: Sequence[BaseMessage]) -> Turn:
    asked = max(index for index, message in enumerate(messages) if isinstance(message, HumanMessage))
    results = [message for message in messages[asked + 1 :] if isinstance(message, ToolMessage)]
    return Turn(task=str(messages[asked].text), results=results)


def _tool_calls(answer: Calls) -> list[ToolCall]:
    return [ToolCall(name=name, args=dict(arguments), id=f"call_{uuid.uuid4().hex[:12]}") for name, arguments in answer]
