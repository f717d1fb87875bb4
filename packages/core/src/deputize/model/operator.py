"""Operators: people and machines that look at an authority, cut off, and roll policy out."""

from dataclasses import dataclass

from deputize.model.rules import ROLES, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Whom an operator's token proves. `name` is `<host of the issuer>|<sub>`; `role` None: known, and may nothing."""

    name: str
    role: Role | None

    def may(self, role: Role) -> bool:
        """Whether this operator may do what `role` may: each role may what those before it may."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)
