"""Sessions that outlive a run: opened under the key of their place, and found again by it."""

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from deputize import Authority, Session
from deputize.errors import SessionEnded
from langchain_deputize.places import Place
from langchain_deputize.steps import Told, Work, closed, done, noted

if TYPE_CHECKING:
    from deputize import SessionTree

AGAIN: Final = 64  # sessions of one place, each opened after the one before had ended
_REMEMBERED: Final = 4096  # threads whose newest root this process knows by its key

Path = list[tuple[str, str]]  # (agent, sid), from the one below the base to the one that is looked for


def open_at(base: Session, agent: str, key: str, task: str | None) -> Work[Session]:
    """The session of that key below `base`: opened, or given again.

    One that expired, or was closed because its run had failed, has its successor under the next key, and the record
    shows that as opened. Raises SessionEnded where it was revoked, or where what it lies below has ended.
    """
    number = 0
    while True:
        try:
            again = f"{key}:{number}" if number else key
            return (yield from done(base, partial(base.delegate, agent, task=task, key=again)))
        except SessionEnded as error:
            over, number = error.denial.session, number + 1
            if (
                error.code == "session_revoked"
                or not over
                or over in {base.id, *base.node.ancestors}
                or number == AGAIN
            ):
                raise


def resume_below(base: Session, place: Place, agent: str) -> Work[Session | None]:
    """The session of an agent that was handed on to in an earlier turn, below the agents that handed on then.

    Each of them is asked for again under its key, from `base` downwards, so its ceiling is what it was and policy
    decides afresh. A path that ends in a revoked session is followed, too: there it is refused. Where the turn ended
    after a hand-off and before the other agent ran, its session is opened now, below the one that handed on.
    """
    tree = yield from done(base, base.tree)
    for path in sorted(_paths(tree, agent), key=len, reverse=True):
        found = yield from _follow(base, path, place)
        if found is not None:
            return found
    for path, call in sorted(_handing_on(tree, agent), key=lambda found: len(found[0]), reverse=True):
        above, key = (yield from _follow(base, path, place)), place.key()
        if above is not None and key is not None:
            opened = yield from open_at(above, agent, key, None)
            yield from noted(above, "handoff.taken", call, {"to": agent, "sid": opened.id})
            return opened
    return None


def _follow(base: Session, path: Path, place: Place) -> Work[Session | None]:
    session = base
    for name, sid in path:
        key = place.key(name)
        if key is None:
            return None
        session = yield from open_at(session, name, key, None)
        if session.id != sid:  # the one on the path was opened by a tool call, under a key of its own
            if not session.reissued:
                yield from closed(session)
            return None
    return session


def _below(node: "SessionTree", path: Path) -> Iterator[tuple[Path, "SessionTree"]]:
    """What may go on, or was revoked, with the way to it."""
    for child in node.children:
        if child.state in {"open", "revoked"}:
            there = [*path, (child.agent, child.sid)]
            yield there, child
            yield from _below(child, there)


def _paths(tree: "SessionTree", agent: str) -> Iterator[Path]:
    """To the sessions of `agent` further down than directly below the top."""
    return (path for path, node in _below(tree, []) if node.agent == agent and len(path) > 1)


def _handing_on(tree: "SessionTree", agent: str) -> Iterator[tuple[Path, Told]]:
    """To the sessions that handed on to `agent`, which never ran below them. To one above is a return, not this."""
    for path, node in _below(tree, []):
        told = [call for call in node.calls if agent in call.to and call.outcome == "done"]
        seen = [name for name, _ in path] + [child.agent for child in node.children]
        if told and agent not in seen:
            yield path, told[-1]


class _Roots:
    """Under which key the newest root of a thread is, as far as this process knows. Only saves asking."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Authority, OrderedDict[tuple[str, str, str], str]] = WeakKeyDictionary()
        self._lock = Lock()

    def get(self, authority: Authority, thread: tuple[str, str, str]) -> str | None:
        """The root that the newest one continues."""
        with self._lock:
            return self._known.get(authority, OrderedDict()).get(thread)

    def put(self, authority: Authority, thread: tuple[str, str, str], continues: str) -> None:
        """Remember it; the oldest thread is forgotten where there are too many."""
        with self._lock:
            known = self._known.setdefault(authority, OrderedDict())
            known[thread] = continues
            known.move_to_end(thread)
            while len(known) > _REMEMBERED:
                known.popitem(last=False)


_ROOTS: Final = _Roots()


def root_of(authority: Authority, *, agent: str, user: str, thread: str) -> Session:
    """The root of (thread, agent, user). One that expired is continued by a new one, linked to it in the record.

    What was revoked or closed stays so: raises SessionEnded.
    """
    known = (agent, user, thread)
    continues = _ROOTS.get(authority, known)
    number = 0
    while True:
        key = f"langgraph:{thread}" if continues is None else f"langgraph:{thread}:{continues}"
        try:
            return authority.session(agent=agent, user=user, key=key, continues=continues)
        except SessionEnded as error:
            number += 1
            if error.code != "session_expired" or not error.denial.session or number == AGAIN:
                raise
            continues = error.denial.session
            _ROOTS.put(authority, known, continues)
