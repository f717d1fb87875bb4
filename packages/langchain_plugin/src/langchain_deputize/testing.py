"""For tests: a chat model that says what it was told to say, without a network."""
# ruff: noqa: ARG002, ANN401  # the signatures are LangChain's

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

Step = str | AIMessage


def calls(*tool_calls: tuple[str, dict[str, Any], str]) -> AIMessage:
    """A model's turn that calls tools: (name, arguments, call id) each."""
    return AIMessage(
        content="", tool_calls=[{"name": name, "args": args, "id": call_id} for name, args, call_id in tool_calls]
    )


class ScriptedModel(BaseChatModel):
    """Answers with its steps in order, one per turn since the last human message, the last one for good.

    Holds no state, so one object serves concurrent runs. `speaker`: count only turns of this agent, where several
    share one history.
    """

    steps: Sequence[Step]
    speaker: str | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The same model: its steps name the tools."""
        return self

    def _turn(self, messages: list[BaseMessage]) -> ChatResult:
        turn = 0
        for message in reversed(messages):
            if isinstance(message, HumanMessage):
                break
            turn += isinstance(message, AIMessage) and (self.speaker is None or message.name == self.speaker)
        step = self.steps[min(turn, len(self.steps) - 1)]
        message = AIMessage(content=step) if isinstance(step, str) else step.model_copy()
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._turn(messages)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._turn(messages)
