"""From a URL to an authority that can be asked: whose metadata it is, what this process is, and its keys in memory."""

from collections.abc import Callable, Sequence
from typing import Final

import httpx

from deputize.client.engine import TOKEN, WORKLOAD, RemoteEngine
from deputize.client.evidence import Attestor, detect
from deputize.client.http import Connection, Sending, fields
from deputize.client.keyring import Issued, Keyring
from deputize.client.operator import Operator
from deputize.model.clock import Clock
from deputize.model.failure import AttestationFailed, ConfigurationError, InvalidToken
from deputize.wire import client_assertion, metadata, workload_grants
from deputize.wire import token_exchange as tx
from deputize.wire.alg import ES256, LocalKey
from deputize.wire.client_assertion import Credentials
from deputize.wire.identity_answer import IdentityAnswer
from deputize.wire.json_strict import loads
from deputize.wire.token_exchange import TokenExchangeRequest

_UNIX: Final = "unix:"
_HERE: Final = "http://localhost"  # who is at the other end of a Unix-domain socket, until its metadata tells


def connect(
    url: str,
    *,
    agents: Sequence[str],
    attestor: Attestor | None,
    timeout: float,
    clock: Clock,
    operator_token: Callable[[str], str | None],
    transport: httpx.BaseTransport | None = None,
) -> RemoteEngine:
    """Attest this process at the authority of `url`: https, http on the loopback, or `unix:<path>`.

    `agents` (names or ids) must be among those that its evidence allows; `transport` is how requests travel, where
    that is not the network. Raises AttestationFailed, AuthorityUnavailable, ConfigurationError, InvalidRequest
    (`wrong_issuer`: the metadata is another's).
    """
    connection = _connection(url, timeout, clock, transport)
    try:
        enrolment = Enrolment(connection, attestor or detect(url), clock)
        keyring = Keyring(algorithm=ES256, clock=clock, ask=enrolment.ask)
        enrolment.workload = lambda: keyring.get(WORKLOAD)
        keyring.keep(WORKLOAD)
        operator = operator_over(connection, operator_token)
        engine = RemoteEngine(connection, keyring, clock=clock, operator=operator)
        _check_agents(engine, agents)
    except BaseException:
        connection.close()
        raise
    return engine


def connect_operator(
    url: str, *, timeout: float, clock: Clock, operator_token: Callable[[str], str | None]
) -> Operator:
    """An operator at the authority of `url`, who is no workload and proves none. Closed by its `close`.

    Raises AuthorityUnavailable, ConfigurationError, InvalidRequest (`wrong_issuer`).
    """
    return operator_over(_connection(url, timeout, clock, None), operator_token)


def operator_over(connection: Connection, operator_token: Callable[[str], str | None]) -> Operator:
    """`operator_token` gives the token for an issuer, at each request."""
    return Operator(connection, lambda: operator_token(connection.base))


class Enrolment:
    """Asks for identities: of the workload by evidence, then by its own key; of an agent by the workload's identity."""

    def __init__(self, connection: Connection, attestor: Attestor, clock: Clock) -> None:
        self._connection = connection
        self._attestor = attestor
        self._clock = clock
        self._workload: tuple[Issued, LocalKey] | None = None
        self.workload: Callable[[], object] = lambda: None  # has the workload's own identity renewed where that is due

    def ask(self, name: str, key: LocalKey) -> Issued:
        """An identity over `key`: of this workload (`WORKLOAD`), or of an agent by id."""
        if name != WORKLOAD:
            return self._hosted(name, key)
        issued = self._renewed(key) or self._attested(key)
        self._workload = (issued, key)
        return issued

    def _attested(self, key: LocalKey) -> Issued:
        evidence = self._attestor.evidence(self._connection.base)
        asked = f"this process could not be attested by {self._attestor.method}"
        return self._send(tuple(workload_grants.build(evidence)), key, asked)

    def _renewed(self, key: LocalKey) -> Issued | None:
        """By the key that was attested, as long as the authority takes it; what is good once needs no second."""
        if self._workload is None or self._workload[1] is not key:
            return None
        try:
            return self._exchange(None, key, "the identity of this workload")
        except (AttestationFailed, InvalidToken):
            return None

    def _hosted(self, agent: str, key: LocalKey) -> Issued:
        self.workload()
        return self._exchange(agent, key, f"an identity of {agent}")

    def _exchange(self, agent: str | None, key: LocalKey, asked: str) -> Issued:
        if self._workload is None:
            raise AttestationFailed("this process was not attested yet")
        held, workload_key = self._workload
        form = TokenExchangeRequest(
            subject_token=held.token, subject_token_type=tx.JWT, audience=agent, requested_token_type=tx.JWT
        )
        assertion = client_assertion.encode(
            workload_key, client_id=held.subject, issuer=self._connection.base, now=self._clock.now()
        )
        credentials = client_assertion.build_fields(Credentials(assertion=assertion, identity=held.token))
        return self._send(fields(tx.build_form(form), credentials), key, asked)

    def _send(self, items: tuple[tuple[str, str], ...], key: LocalKey, asked: str) -> Issued:
        raw = self._connection.send(Sending(method="POST", path=TOKEN, asked=asked, items=items, key=key))
        told = IdentityAnswer.from_json(raw)
        return Issued(
            token=told.token,
            subject=told.subject,
            workload=told.workload,
            method=told.method,
            expires_in=told.expires_in,
        )


def _connection(url: str, timeout: float, clock: Clock, transport: httpx.BaseTransport | None) -> Connection:
    """Whoever answers at `url` has to be the issuer of that very name (RFC 8414 §3.3)."""
    if not url.startswith(_UNIX):
        connection = Connection(url, timeout=timeout, clock=clock, transport=transport)
        metadata.parse(_metadata(connection, metadata.well_known_url(connection.base)), issuer=connection.base)
        return connection
    through = transport or httpx.HTTPTransport(uds=url.removeprefix(_UNIX))
    connection = Connection(_HERE, timeout=timeout, clock=clock, transport=through)
    issuer = loads(_metadata(connection, metadata.well_known_url(_HERE))).get("issuer")
    if not isinstance(issuer, str):
        raise ConfigurationError("what answers at this socket is no authority")
    connection.base = issuer
    return connection


def _metadata(connection: Connection, url: str) -> bytes:
    return connection.send(Sending(method="GET", path="", url=url, asked="the authority's metadata", again=True))


def _check_agents(engine: RemoteEngine, agents: Sequence[str]) -> None:
    for name in agents:
        entry = engine.registry.agent(name)
        if entry is None or entry.id not in engine.hosted:
            raise AttestationFailed(f"this process's evidence does not let it host {name[:64]!r}")
