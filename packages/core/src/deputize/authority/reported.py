"""What a resource server on the same machine reports of the calls that it received."""

from typing import Final

from deputize.authority.journal import append
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS
from deputize.model.event import Event
from deputize.model.failure import InvalidRequest
from deputize.model.report import Rejections, Report
from deputize.store.protocol import WriteTx

OUTCOMES: Final = {
    "started": ("resource.call_started", "permitted"),
    "done": ("resource.call_finished", "done"),
    "failed": ("resource.call_failed", "failed"),
    "denied": ("resource.call_denied", "denied"),
}


def record_report(parts: Parts, report: Report) -> None:
    """Append one record. The chain is the stored session's, whatever the report says.

    Raises InvalidRequest for another outcome.
    """
    if report.outcome not in OUTCOMES:
        raise InvalidRequest(f"an outcome is one of {', '.join(OUTCOMES)}")
    kind, result = OUTCOMES[report.outcome]

    def operation(tx: WriteTx) -> None:
        node = tx.session(report.sid)
        append(
            tx,
            Event(
                type=kind,
                chain=() if node is None else node.chain,
                policies=("resource.guard",) if report.outcome == "denied" else (),
                outcome=result,
                time=int(parts.stamp(tx) * MILLIS),
                txn=report.txn,
                sid=report.sid,
                jti=report.jti,
                sub=report.sub,
                agent=report.agent,
                tool=report.tool,
                call_id=report.call_id,
                resource=report.resource,
                scopes=report.scopes,
                code=report.code,
                detail={"by": "resource"},
            ),
        )

    parts.store.write(operation)


def record_rejections(parts: Parts, told: Rejections) -> None:
    """Requests at a resource that no caller could be named for: how many, why, and from which address.

    The caller bounds how often (SEMANTICS, "Records": one record for each code, client hint and minute).
    """

    def operation(tx: WriteTx) -> None:
        append(
            tx,
            Event(
                type="resource.rejected",
                outcome="denied",
                time=int(parts.stamp(tx) * MILLIS),
                resource=told.resource,
                code=told.code,
                detail={"by": "resource", "client": told.client[:64], "count": told.count},
            ),
        )

    parts.store.write(operation)
