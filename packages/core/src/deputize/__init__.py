"""Identity and delegated authority for multi-agent AI.

Five concepts: Authority, Agent, Session, Access, Policy. Public names are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deputize.authority.revocation import Revocation as Revocation
    from deputize.authority.tree import SessionTree as SessionTree
    from deputize.client.feed import HttpRevocations as HttpRevocations
    from deputize.client.jwks import HttpKeys as HttpKeys
    from deputize.errors import AttestationFailed as AttestationFailed
    from deputize.errors import AuthorityUnavailable as AuthorityUnavailable
    from deputize.errors import ConfigurationError as ConfigurationError
    from deputize.errors import Denial as Denial
    from deputize.errors import Denied as Denied
    from deputize.errors import DeputizeError as DeputizeError
    from deputize.errors import IntegrityError as IntegrityError
    from deputize.errors import InvalidRequest as InvalidRequest
    from deputize.errors import InvalidToken as InvalidToken
    from deputize.errors import NoSession as NoSession
    from deputize.errors import NotFound as NotFound
    from deputize.errors import SessionEnded as SessionEnded
    from deputize.errors import StoreError as StoreError
    from deputize.errors import UnknownAgent as UnknownAgent
    from deputize.facade.access import Access as Access
    from deputize.facade.authority import Authority as Authority
    from deputize.facade.session import Session as Session
    from deputize.facade.tool_call import ToolCall as ToolCall
    from deputize.model.agent_card import AgentMetadata as AgentMetadata
    from deputize.model.introspection import Introspection as Introspection
    from deputize.model.resource import Right as Right
    from deputize.model.session import Mode as Mode
    from deputize.verifier import Caller as Caller

_NAMES = {
    "Access": "deputize.facade.access",
    "AgentMetadata": "deputize.model.agent_card",
    "AttestationFailed": "deputize.errors",
    "Authority": "deputize.facade.authority",
    "AuthorityUnavailable": "deputize.errors",
    "Caller": "deputize.verifier",
    "ConfigurationError": "deputize.errors",
    "Denial": "deputize.errors",
    "Denied": "deputize.errors",
    "DeputizeError": "deputize.errors",
    "HttpKeys": "deputize.client.jwks",
    "HttpRevocations": "deputize.client.feed",
    "IntegrityError": "deputize.errors",
    "Introspection": "deputize.model.introspection",
    "InvalidRequest": "deputize.errors",
    "InvalidToken": "deputize.errors",
    "Mode": "deputize.model.session",
    "NoSession": "deputize.errors",
    "NotFound": "deputize.errors",
    "Revocation": "deputize.authority.revocation",
    "Right": "deputize.model.resource",
    "Session": "deputize.facade.session",
    "SessionEnded": "deputize.errors",
    "SessionTree": "deputize.authority.tree",
    "StoreError": "deputize.errors",
    "ToolCall": "deputize.facade.tool_call",
    "UnknownAgent": "deputize.errors",
}

__version__ = "0.1.0"
__all__ = [*sorted(_NAMES), "__version__"]  # noqa: PLE0604  # a sorted list of strings, which the check can't see


def __getattr__(name: str) -> object:
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'deputize' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
