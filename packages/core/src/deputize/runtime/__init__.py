"""What adapters stand on: the current session and access, scopes for hand-offs and tool calls.

An adapter maps its framework's events to these and to nothing else. Everything here works in sync and in
async code; what is ambient follows tasks, `asyncio.to_thread` and `contextvars.copy_context`, and `carry`
takes it into threads of your own.
"""

from deputize.facade.ambient import current_session, on_enter
from deputize.model.failure import Denial, Denied, DeputizeError, NoSession, UnknownAgent
from deputize.runtime.handoffs import HandOff, handoff
from deputize.runtime.refusals import answer_for_model, is_refusal, no_session, refused
from deputize.runtime.resource_servers import report_rejections, verifier_for
from deputize.runtime.sessions import SessionScope, aaccess, access, session
from deputize.runtime.tool_calls import (
    CallScope,
    ambient_session,
    current_access,
    current_call,
    guarded,
    tool_call,
    within,
)
from deputize.runtime.wrapping import carry, tool

__all__ = [
    "CallScope",
    "Denial",
    "Denied",
    "DeputizeError",
    "HandOff",
    "NoSession",
    "SessionScope",
    "UnknownAgent",
    "aaccess",
    "access",
    "ambient_session",
    "answer_for_model",
    "carry",
    "current_access",
    "current_call",
    "current_session",
    "guarded",
    "handoff",
    "is_refusal",
    "no_session",
    "on_enter",
    "refused",
    "report_rejections",
    "session",
    "tool",
    "tool_call",
    "verifier_for",
    "within",
]
