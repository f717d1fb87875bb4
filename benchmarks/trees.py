"""Large trees, written through the store: opening them one by one would take minutes and measure that instead."""

from dataclasses import replace
from typing import Final

from deputize import Authority, Session
from deputize.authority.journal import append, new_id
from deputize.model.event import Event
from deputize.model.session import Edge, Node
from deputize.store.protocol import WriteTx

_BATCH: Final = 5000


def spine(session: Session, depth: int) -> list[Node]:
    """`depth` sessions below `session`, each under the one before; the first is the session itself."""
    root = session.authority.engine.parts.store.read(lambda tx: tx.session(session.id))
    assert root is not None
    nodes = [root]
    for _ in range(depth):
        nodes += _add(session.authority, [_child(nodes[-1])])
    return nodes


def grow(authority: Authority, parent: Node, size: int) -> list[Node]:
    """Hang `size` live sessions below `parent`, each with its record."""
    made: list[Node] = []
    while len(made) < size:
        made += _add(authority, [_child(parent) for _ in range(min(_BATCH, size - len(made)))])
    return made


def _child(parent: Node) -> Node:
    return replace(
        parent,
        sid=new_id(),
        path=() if parent.sid == parent.txn else (*parent.path, parent.sid),
        parent=parent.sid,
        kind=Edge.CHILD,
        depth=parent.depth + 1,
        chain=(parent.agent, *parent.chain),
    )


def _add(authority: Authority, nodes: list[Node]) -> list[Node]:
    def operation(tx: WriteTx) -> list[Node]:
        time = tx.newest_time()
        return [_write(tx, node, time) for node in nodes]

    return authority.engine.parts.store.write(operation)


def _write(tx: WriteTx, node: Node, time: int) -> Node:
    event = Event(
        type="session.opened",
        outcome="permitted",
        time=time,
        txn=node.txn,
        sid=node.sid,
        sub=node.sub,
        agent=node.agent,
        chain=node.chain,
    )
    node = replace(node, leaf=append(tx, event).seq)
    tx.add_session(node)
    return node
