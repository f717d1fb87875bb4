"""What people call things by: the id of anything in a session stands for it, an agent's short name for the agent."""

from deputize.audit.record import open_body
from deputize.authority.parts import Parts
from deputize.model.failure import InvalidRequest, NotFound
from deputize.model.revocation import Kind
from deputize.model.session import Node
from deputize.store.protocol import ReadTx


def node_of(tx: ReadTx, identifier: str) -> Node:
    """The session that an id of it, of a token or tool call in it, or of a refusal there, stands for.

    Raises NotFound; InvalidRequest where calls of several sessions have that id.
    """
    node = tx.session(identifier)
    if node is not None:
        return node
    if identifier:
        records = [
            *tx.find(jti=identifier, limit=100),
            *tx.find(call_id=identifier, limit=100),
            *tx.find(reference=identifier, limit=100),
        ]
        sids = {sid for record in records if isinstance(sid := open_body(record).get("sid"), str)}
        if len(sids) > 1:
            raise InvalidRequest("calls of several sessions have this id; name the session: deputize audit show")
        for sid in sids:
            node = tx.session(sid)
    if node is None:
        raise NotFound("no session, token, tool call or refusal of this store has that id")
    return node


def target_of(tx: ReadTx, identifier: str) -> tuple[Kind, str]:
    """What an id kills: of a token that token alone, of a tool call or a refusal the session that it happened in."""
    if tx.session(identifier) is None and identifier and tx.find(jti=identifier, limit=1):
        return Kind.TOKEN, identifier
    return Kind.SESSION, node_of(tx, identifier).sid


def agent_named(parts: Parts, name: str) -> str:
    """The id of a registered agent by its short name; an id stays what it is. Raises NotFound."""
    entry = parts.rules.registry.agent(name)
    if entry is None and not name.startswith("spiffe://"):
        raise NotFound(f'no agent "{name[:64]}" is registered')
    return entry.id if entry is not None else name
