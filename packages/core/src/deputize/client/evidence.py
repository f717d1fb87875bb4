"""What this process can prove itself with: its platform's token, its SVID, its user on this machine, a join token.

Secrets that came in the environment are taken out of it when they are read, so that no child process inherits them.
"""

import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from deputize.model.failure import AttestationFailed
from deputize.model.request import WorkloadEvidence

KUBERNETES_TOKEN: Final = "/var/run/secrets/deputize/token"  # noqa: S105  # where docs/attestation.md mounts it
_KUBERNETES_FILE: Final = "DEPUTIZE_KUBERNETES_TOKEN_FILE"
_SPIFFE_SOCKET: Final = "SPIFFE_ENDPOINT_SOCKET"
_OIDC_TOKEN: Final = "DEPUTIZE_OIDC_TOKEN"  # noqa: S105  # a variable's name
_OIDC_FILE: Final = "DEPUTIZE_OIDC_TOKEN_FILE"
_REQUEST_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
_REQUEST_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105  # a variable's name
_JOIN_TOKEN: Final = "DEPUTIZE_JOIN_TOKEN"  # noqa: S105  # a variable's name
_MAX_TOKEN: Final = 16 * 1024  # bytes
_TIMEOUT: Final = 10.0  # seconds


class Attestor(Protocol):
    """One way for this process to prove what it is."""

    @property
    def method(self) -> str:
        """The method of the rule that it is for, as `[[attestation]]` names it."""
        ...

    def evidence(self, audience: str) -> WorkloadEvidence:
        """Fresh evidence for the authority whose issuer is `audience`. Raises AttestationFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A projected service account token, read anew each time: the kubelet replaces the file."""

    path: str = KUBERNETES_TOKEN
    method: str = field(default="kubernetes", init=False)

    def evidence(self, audience: str) -> WorkloadEvidence:
        """The token in the file; whom it is for was said where it is mounted."""
        del audience
        return WorkloadEvidence(kind="jwt", token=_read(self.path))


@dataclass(frozen=True, slots=True)
class Spiffe:
    """A JWT-SVID by the Workload API at `socket` (`unix:/path`)."""

    socket: str
    method: str = field(default="spiffe", init=False)

    def evidence(self, audience: str) -> WorkloadEvidence:
        """An SVID for `audience`."""
        from deputize.client.spiffe import fetch_svid  # noqa: PLC0415  # the extra is imported where it is used

        return WorkloadEvidence(kind="jwt", token=fetch_svid(self.socket, audience))


class Oidc:
    """A token of a platform's own OpenID Connect issuer: from a function, such as one of the two below."""

    method = "oidc"

    def __init__(self, fetch: Callable[[str], str]) -> None:
        """`fetch(audience)` returns a token, or raises AttestationFailed."""
        self._fetch = fetch

    @classmethod
    def from_file(cls, path: str) -> "Oidc":
        """A file that the platform keeps fresh."""
        return cls(lambda _: _read(path))

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> "Oidc":
        """`DEPUTIZE_OIDC_TOKEN`: one token, for this process's start; taken out of the environment now."""
        token = (os.environ if environ is None else environ).pop(_OIDC_TOKEN, "").strip()
        return cls(lambda _: _present(token))

    @classmethod
    def from_request(cls, url: str, bearer: str) -> "Oidc":
        """A CI provider that gives a token for any audience on request (GitHub Actions' protocol)."""
        return cls(lambda audience: _requested(url, bearer, audience))

    def evidence(self, audience: str) -> WorkloadEvidence:
        """A token for `audience`."""
        return WorkloadEvidence(kind="jwt", token=self._fetch(audience))

    def __repr__(self) -> str:
        return "Oidc()"


@dataclass(frozen=True, slots=True)
class Unix:
    """This process's user, which the kernel tells the authority at the other end of a Unix-domain socket."""

    method: str = field(default="unix", init=False)

    def evidence(self, audience: str) -> WorkloadEvidence:
        """Nothing is sent: the connection is the evidence."""
        del audience
        return WorkloadEvidence(kind="unix")


class Join:
    """A one-time token that an operator made: `deputize agent enroll`. It is good for one key."""

    method = "join"

    def __init__(self, token: str) -> None:
        self._token = token

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> "Join":
        """`DEPUTIZE_JOIN_TOKEN`, taken out of the environment now."""
        return cls((os.environ if environ is None else environ).pop(_JOIN_TOKEN, "").strip())

    def evidence(self, audience: str) -> WorkloadEvidence:
        """The token."""
        del audience
        return WorkloadEvidence(kind="join", token=_present(self._token))

    def __repr__(self) -> str:
        return "Join()"


def detect(url: str, environ: MutableMapping[str, str] | None = None) -> Attestor:
    """What this process has, the first of: kubernetes, spiffe, oidc, unix, join. Its `method` says which.

    One way is picked by what is there; if the authority then refuses it, no other is tried in its place. `url` is the
    authority's: a peer is known only over `unix:`. Raises AttestationFailed, which names what was looked for.
    """
    env = os.environ if environ is None else environ
    found = _kubernetes(env) or _spiffe(env) or _oidc(env)
    if found is not None:
        return found
    if url.startswith("unix:"):
        return Unix()
    if _JOIN_TOKEN in env:
        return Join.from_environment(env)
    raise AttestationFailed(
        f"this process has nothing to prove itself with: no {KUBERNETES_TOKEN} ({_KUBERNETES_FILE}), no "
        f"{_SPIFFE_SOCKET}, no {_OIDC_TOKEN}, {_OIDC_FILE} or {_REQUEST_URL}, no unix: authority, no {_JOIN_TOKEN}"
    )


def _kubernetes(env: Mapping[str, str]) -> Attestor | None:
    path = env.get(_KUBERNETES_FILE, KUBERNETES_TOKEN)
    return Kubernetes(path) if _KUBERNETES_FILE in env or Path(path).is_file() else None


def _spiffe(env: Mapping[str, str]) -> Attestor | None:
    socket = env.get(_SPIFFE_SOCKET)
    return Spiffe(socket) if socket else None


def _oidc(env: MutableMapping[str, str]) -> Attestor | None:
    if _OIDC_TOKEN in env:
        return Oidc.from_environment(env)
    if _OIDC_FILE in env:
        return Oidc.from_file(env[_OIDC_FILE])
    if _REQUEST_URL in env and _REQUEST_TOKEN in env:
        return Oidc.from_request(env[_REQUEST_URL], env[_REQUEST_TOKEN])
    return None


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_MAX_TOKEN + 1)
    except (OSError, ValueError):
        raise AttestationFailed("the file with this workload's token cannot be read") from None
    if len(raw) > _MAX_TOKEN or not raw.isascii():
        raise AttestationFailed("the file with this workload's token holds no token")
    return _present(raw.decode("ascii").strip())


def _present(token: str) -> str:
    if not token:
        raise AttestationFailed("there is no token to prove this workload with")
    return token


def _requested(url: str, bearer: str, audience: str) -> str:
    import httpx  # noqa: PLC0415  # one of five ways, and slow to import

    try:
        target = httpx.URL(url).copy_merge_params({"audience": audience})
        with httpx.Client(timeout=_TIMEOUT) as client:
            answer = client.get(target, headers={"Authorization": f"Bearer {bearer}"})
        answer.raise_for_status()
        token = answer.json().get("value", "")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError):
        raise AttestationFailed("the platform gave no token on request") from None
    if not isinstance(token, str) or len(token) > _MAX_TOKEN:
        raise AttestationFailed("the platform gave no token on request")
    return _present(token)
