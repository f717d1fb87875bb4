"""The answer that gives an identity: never a bearer, so `N_A` (RFC 8693 §2.2.1), and whose it is beside it."""

from dataclasses import dataclass, field
from typing import Final

from deputize.wire.answer import bad_response
from deputize.wire.json_strict import dumps, loads
from deputize.wire.token_exchange import JWT

MEMBER: Final = "deputize_identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityAnswer:
    """An identity (`wit+jwt`) of `subject`, a workload or an agent that it hosts. `expires_in` in seconds."""

    token: str = field(repr=False)
    subject: str
    workload: str
    method: str
    expires_in: int

    def to_json(self) -> bytes:
        """The body of a 200 answer; to be sent with `Cache-Control: no-store`."""
        return dumps(
            {
                "access_token": self.token,
                "issued_token_type": JWT,
                "token_type": "N_A",
                "expires_in": self.expires_in,
                MEMBER: {"subject": self.subject, "workload": self.workload, "method": self.method},
            }
        )

    @classmethod
    def from_json(cls, raw: bytes) -> "IdentityAnswer":
        """Raises InvalidRequest (`invalid_response`) for what is no such answer."""
        members = loads(raw, refuse=bad_response)
        token, told, expires_in = members.get("access_token"), members.get(MEMBER), members.get("expires_in")
        if not (isinstance(token, str) and token and isinstance(told, dict)) or members.get("token_type") != "N_A":
            raise bad_response("the answer gives no identity")
        subject, workload, method = told.get("subject"), told.get("workload"), told.get("method")
        if not (isinstance(subject, str) and isinstance(workload, str) and isinstance(method, str)):
            raise bad_response("the answer tells of its identity in another form")
        if type(expires_in) is not int or expires_in <= 0:
            raise bad_response("the answer tells of its identity in another form")
        return cls(token=token, subject=subject, workload=workload, method=method, expires_in=expires_in)
