"""What the callback handler leaves to do where it must not wait: LangChain awaits it right behind the handler."""
# ruff: noqa: ANN401, ARG002, D102  # the signatures are LangChain's; all of these do the same

import sys
from types import FrameType
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler

from langchain_deputize.steps import LEFT, catch_up

_MANAGER = "langchain_core.callbacks.manager"


class Companion(AsyncCallbackHandler):
    """Is asked for nothing unless something was left, so that it costs nothing, and sync programs never run it."""

    raise_error = True
    run_inline = True
    ignore_llm = True
    ignore_chat_model = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    @property
    def ignore_chain(self) -> bool:
        """LangChain's word for: ask this handler of no chain."""
        return not LEFT.get()

    @property
    def ignore_agent(self) -> bool:
        """The same of tools."""
        return not LEFT.get()

    async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        await catch_up()

    async def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
        await catch_up()

    async def on_chain_error(self, *args: Any, **kwargs: Any) -> None:
        await catch_up()

    async def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        await catch_up()

    async def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
        await catch_up()

    async def on_tool_error(self, *args: Any, **kwargs: Any) -> None:
        await catch_up()


def comes_next(caller: FrameType) -> bool:
    """Whether whoever called the handler is LangChain's loop over handlers that are awaited, and a companion is in it.

    A handler is not told. Where this cannot be seen, it is not so, and the handler waits itself.
    """
    manager = sys.modules.get(_MANAGER)
    one = getattr(getattr(manager, "_ahandle_event_for_handler", None), "__code__", None)
    every = getattr(getattr(manager, "ahandle_event", None), "__code__", None)
    around = caller.f_back
    if caller.f_code is not one or around is None or around.f_code is not every:
        return False
    handlers, asked = around.f_locals.get("handlers"), caller.f_locals.get("handler")
    if not isinstance(handlers, list) or asked not in handlers:
        return False
    return any(isinstance(handler, Companion) for handler in handlers[handlers.index(asked) :])
