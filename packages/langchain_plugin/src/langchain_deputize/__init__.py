"""Deputize for LangChain and LangGraph: a delegated session at every hand-off, every tool call guarded.

Guards (`DeputizeMiddleware`, `secure_tool`) enforce, around the call; the callback handler keeps the sessions and is
the fail-closed backstop. LangGraph is imported when the middleware is.
"""

import importlib
from typing import TYPE_CHECKING

from langchain_deputize.handler import DeputizeCallbackHandler

if TYPE_CHECKING:
    from langchain_deputize.auth import DeputizeAuth as DeputizeAuth
    from langchain_deputize.delivery import Undeliverable as Undeliverable
    from langchain_deputize.mcp import mcp_interceptor as mcp_interceptor
    from langchain_deputize.mcp import secure_mcp_session as secure_mcp_session
    from langchain_deputize.middleware import DeputizeMiddleware as DeputizeMiddleware
    from langchain_deputize.remote import DeputizeRemoteGraph as DeputizeRemoteGraph
    from langchain_deputize.roots import langgraph_user as langgraph_user
    from langchain_deputize.scaffold import scaffold as scaffold
    from langchain_deputize.securing import coverage as coverage
    from langchain_deputize.securing import secure as secure
    from langchain_deputize.sessions import current_access as current_access
    from langchain_deputize.sessions import current_session as current_session
    from langchain_deputize.sessions import session_config as session_config
    from langchain_deputize.tools import secure_tool as secure_tool
    from langchain_deputize.tools import secure_tools as secure_tools
    from langchain_deputize.walking import Coverage as Coverage

_NAMES = {
    "Coverage": "langchain_deputize.walking",
    "DeputizeAuth": "langchain_deputize.auth",
    "DeputizeMiddleware": "langchain_deputize.middleware",
    "DeputizeRemoteGraph": "langchain_deputize.remote",
    "Undeliverable": "langchain_deputize.delivery",
    "coverage": "langchain_deputize.securing",
    "current_access": "langchain_deputize.sessions",
    "current_session": "langchain_deputize.sessions",
    "langgraph_user": "langchain_deputize.roots",
    "mcp_interceptor": "langchain_deputize.mcp",
    "scaffold": "langchain_deputize.scaffold",
    "secure": "langchain_deputize.securing",
    "secure_mcp_session": "langchain_deputize.mcp",
    "secure_tool": "langchain_deputize.tools",
    "secure_tools": "langchain_deputize.tools",
    "session_config": "langchain_deputize.sessions",
}

__all__ = ["DeputizeCallbackHandler", *sorted(_NAMES)]  # noqa: PLE0604  # a list of strings, which the check can't see


def __getattr__(name: str) -> object:
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'langchain_deputize' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
