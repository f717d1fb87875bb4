"""What an operator was refused: told with a reference, and recorded (I16)."""

from typing import Final

from deputize.authority.journal import append, new_reference, told_by
from deputize.authority.parts import ACTIVE_POLICY, Parts
from deputize.authority.refusal import MILLIS
from deputize.model.event import Event
from deputize.model.failure import Denial, Denied, DeputizeError, plain
from deputize.model.operator import Operator
from deputize.model.rules import Role
from deputize.store.protocol import WriteTx

OPERATOR_DENIED: Final = "operator.denied"
INSUFFICIENT_ROLE: Final = "insufficient_role"
RULES: Final = "operators"  # what refuses: the rules of `[[operators]]`
_MAX_ASKED: Final = 200  # characters


def require_role(parts: Parts, operator: Operator, role: Role, *, asked: str) -> None:
    """Raise Denied (`insufficient_role`), and record it, where the operator may not do what `role` may."""
    if operator.may(role):
        return
    denial = Denial(
        code=INSUFFICIENT_ROLE,
        policy=RULES,
        asked=f"{plain(asked)[:_MAX_ASKED]} asks for the role {role}",
        enough=f"a group in operators.groups.{role}",
        reference=new_reference(),
    )
    raise refused(parts, operator, Denied(denial), asked=asked)


def refused(parts: Parts, operator: Operator, error: DeputizeError, *, asked: str) -> DeputizeError:
    """`error`, recorded under its reference. `asked`: the request's method and path. Raises StoreError."""
    if error.reference is None:
        error.reference = new_reference()
    by_role = isinstance(error, Denied)

    def operation(tx: WriteTx) -> None:
        append(
            tx,
            Event(
                type=OPERATOR_DENIED,
                outcome="denied",
                time=int(parts.stamp(tx) * MILLIS),
                code=error.code,
                reference=error.reference,
                policies=(RULES,) if by_role else ("default-deny",),
                policy_set=tx.meta(ACTIVE_POLICY),
                detail={**told_by(operator.name, operator.role or "none"), "asked": plain(asked)[:_MAX_ASKED]},
            ),
        )

    parts.store.write(operation)
    return error
