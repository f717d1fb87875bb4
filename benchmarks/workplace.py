"""What several groups start from: an authority over a file, with as many policies as asked for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from deputize import Authority, Session
from deputize.config import from_mappings
from deputize.model.limits import Limits
from deputize.policy.engine import CedarEngine

CRM = "https://crm.example/mcp"
_LARGE = 10**9  # so that no limit is what is measured


class Workplace:
    """A folder that is removed at the end, and the authorities over files in it."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="deputize-bench-")
        self._authorities: list[Authority] = []

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return str(Path(self._folder.name) / name)

    def authority(
        self, name: str, *, policies: int = 500, durability: Literal["full", "normal"] = "normal"
    ) -> Authority:
        """Over a file, a database or, for `:memory:`, in memory. Exactly `policies` policies, two for each agent."""
        agents = {f"agent-{number:04}": ["crm:read"] for number in range((policies - 2) // 2)}
        store = name if name == ":memory:" or name.startswith("postgresql:") else self.file(name)
        configuration = from_mappings(
            agents=agents, resources={CRM: ["crm:read", "crm:write"]}, delegations={}, store=store
        )
        limits = Limits(session_ttl=28_800, children_max=_LARGE, tree_max=_LARGE)
        authority = Authority.from_configuration(replace(configuration, durability=durability, limits=limits))
        self._authorities.append(authority)
        return authority

    def tools(self, name: str, tools: Sequence[str], *, durability: Literal["full", "normal"] = "normal") -> Authority:
        """For one agent, `boss`, with tools of its own process."""
        store = name if name == ":memory:" else self.file(name)
        configuration = from_mappings(agents={"boss": tools}, resources={}, delegations={}, store=store)
        authority = Authority.from_configuration(replace(configuration, durability=durability))
        self._authorities.append(authority)
        return authority

    def close(self) -> None:
        """Close the authorities and remove the folder."""
        for authority in self._authorities:
            authority.close()
        self._folder.cleanup()


def session_of(authority: Authority, agent: str = "agent-0007") -> Session:
    """A session of a user, with an agent from the middle of the crowd."""
    return authority.session(user="alice", agent=agent, task="Q3 churn report")


def access(session: Session) -> None:
    """One exchange: a token for one scope of one resource, decided, recorded and committed."""
    session.access(CRM, ["crm:read"], tool="read_customers")


def verified_access(session: Session) -> None:
    """The same with every input verified anew."""
    session.authority.engine.forget_inputs()
    access(session)


def fresh_access(session: Session) -> None:
    """The same with nothing remembered: inputs are verified and both decisions evaluated anew."""
    engine = session.authority.engine
    engine.forget_inputs()
    policy = engine.parts.rules.policy
    assert isinstance(policy, CedarEngine)
    policy.forget()
    access(session)


def raw_exchange(size: int = 1000) -> Callable[[], None]:
    """The cryptography that no exchange can go without: two ES256 verifications and one signature."""
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())
    data = b"x" * size
    signature = key.sign(data, algorithm)
    verify = partial(key.public_key().verify, signature, data, algorithm)
    sign = partial(key.sign, data, algorithm)

    def exchange() -> None:
        verify()
        verify()
        sign()

    return exchange
