"""That an agent was refused: agents are told of it in a message, so a test looks at the tree."""

from collections.abc import Iterator

from deputize.authority.tree import Call, SessionTree
from deputize.facade.session import Session


def assert_denied(
    within: Session | SessionTree, tool: str, *, agent: str | None = None, policy: str | None = None
) -> Call:
    """The last call of `tool` in this tree, where all of them were refused.

    Raises AssertionError, with the tree, if one was permitted or none was made.
    `agent` (short name) looks at its calls alone, `policy` is what has to have refused: an id of yours, or
    `session-ceiling`, `default-deny` and the like. Other refusals are raised to the code that asked, where
    `pytest.raises(Denied)` sees them.
    """
    tree = within.tree() if isinstance(within, Session) else within
    calls = list(_calls(tree, tool, agent))
    who = agent or "anybody"
    if not calls:
        raise AssertionError(f"{tool} was never called by {who}:\n{tree}")
    for call in calls:
        if call.outcome != "denied":
            raise AssertionError(f"{tool} was permitted by {call.policy or 'nothing'} ({call.outcome}):\n{tree}")
        if policy is not None and call.policy != policy:
            raise AssertionError(f"{tool} was refused by {call.policy or 'default-deny'}, not by {policy}:\n{tree}")
    return calls[-1]


def _calls(tree: SessionTree, tool: str, agent: str | None) -> Iterator[Call]:
    for node in tree.walk():
        if agent in {None, node.agent}:
            yield from (call for call in node.calls if call.tool == tool)
