"""Targets of the attacks: ours at its default settings, and another product in an environment of its own."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx

from deputize.testing.serving import free_port
from deputize.wire.alg import generate
from deputize.wire.dpop import proof
from tests.http.raw import CRM, EXCHANGE, KIND, WIKI, Cast, Party, World, details, raw_root
from tests.http.raw import now as seconds

PATIENCE: Final = 30


class Ours:
    """Deputize over HTTP."""

    name = "deputize"

    def __init__(self, world: World) -> None:
        self._cast = Cast.of(world)
        self._who = {"boss": self._cast.boss, "writer": self._cast.writer, "stranger": self._cast.loner}

    def root(self, who: str) -> str:
        """See Target."""
        return self._who[who].root(rights=details({CRM: ["crm:read", "crm:write"]}))

    def hand_on(self, who: str, token: str, to: str, scope: str = "crm:read") -> str | None:
        """See Target."""
        sender, actor = self._who[who], self._who[to]
        fields = sender.child_fields(token, actor, authorization_details=details({CRM: scope.split()}))
        return _token(sender.send("/token", fields, prover=actor.key))

    def access(
        self, who: str, token: str, scope: str | None = "crm:read", resource: str = CRM, **more: str
    ) -> str | None:
        """See Target."""
        sender = self._who[who]
        return _token(sender.send("/token", sender.access_fields(token, scope=scope, resource=resource, **more)))

    def without_a_key(self, who: str) -> str | None:
        """The resource's tokens are bearer tokens, so that the client's own key is all that is in the way."""
        sender = self._who[who]
        token = sender.root(rights=details({WIKI: ["wiki:read"]}))
        thief = Party(world=sender.world, key=generate(), identity=sender.identity, sub=sender.sub)
        return _token(thief.send("/token", thief.access_fields(token, resource=WIKI, scope="wiki:read"), proofs=()))

    def without_an_actor(self, who: str, token: str) -> str | None:
        """See Target."""
        sender = self._who[who]
        fields = sender.child_fields(token, sender, actor_token=None, actor_token_type=None)
        return _token(sender.send("/token", {**fields, "authorization_details": details({CRM: ["crm:read"]})}))

    def twice(self, who: str) -> bool:
        """See Target."""
        sender = self._who[who]
        fields, credentials, proofs = raw_root(), sender.credentials(), [sender.proof("/token")]
        answers = [sender.send("/token", fields, credentials=credentials, proofs=proofs) for _ in range(2)]
        assert answers[0].status_code == 200, answers[0].text
        return answers[1].status_code == 200

    def introspect(self, who: str | None, token: str) -> dict[str, Any] | None:
        """See Target."""
        sender = self._who[who or "stranger"]
        answer = sender.send("/introspect", {"token": token}, credentials=() if who is None else None, proofs=())
        return dict(answer.json()) if answer.status_code == 200 else None

    def revoke(self, who: str, token: str) -> None:
        """See Target."""
        answer = self._who[who].hold("/session/revoke", token, {"reason": "INC-1"})
        assert answer.status_code == 200, answer.text


class Authgent:
    """authgent-server, as `authgent-server run` starts it: registration open, SQLite, no setting but its address."""

    name = "authgent-server"

    def __init__(self, environment: Path, folder: Path) -> None:
        self._base = f"http://127.0.0.1:{free_port()}"
        port = self._base.rpartition(":")[2]
        settings = {"AUTHGENT_SERVER_URL": self._base, "AUTHGENT_SECRET_KEY": secrets.token_hex(32)}
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [str(environment / "bin" / "authgent-server"), "run", "--host", "127.0.0.1", "--port", port],
            cwd=folder,
            env={**os.environ, **settings},
            stdout=self._log,
            stderr=self._log,
        )
        self._http = httpx.Client(
            base_url=self._base, timeout=20, trust_env=False, transport=httpx.HTTPTransport(retries=8)
        )
        self._who = {name: self._registered(name) for name in ("boss", "writer", "stranger")}

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._http.close()
        self._log.close()

    def _registered(self, name: str) -> dict[str, str]:
        body = {
            "client_name": name,
            "grant_types": ["client_credentials", EXCHANGE],
            "scope": "crm:read crm:write",
            "allowed_resources": [CRM, self._base],
        }
        told = self._http.post("/register", json=body).json()
        return {"client_id": told["client_id"], "client_secret": told["client_secret"]}

    def _exchange(self, who: str, token: str, scope: str | None, resource: str, **more: str) -> str | None:
        fields = {
            **self._who[who],
            "grant_type": EXCHANGE,
            "subject_token": token,
            "subject_token_type": KIND + "access_token",
            "resource": resource,
            **({"scope": scope} if scope is not None else {}),
            **more,
        }
        return _token(self._http.post("/token", data=fields))

    def root(self, who: str) -> str:
        """See Target."""
        fields = {**self._who[who], "grant_type": "client_credentials", "scope": "crm:read crm:write"}
        token = _token(self._http.post("/token", data=fields))
        assert token is not None
        return token

    def hand_on(self, who: str, token: str, to: str, scope: str = "crm:read") -> str | None:
        """Here the one who is handed on to exchanges the token of the one before."""
        del who
        return self._exchange(to, token, scope, self._base)

    def access(
        self, who: str, token: str, scope: str | None = "crm:read", resource: str = CRM, **more: str
    ) -> str | None:
        """See Target."""
        return self._exchange(who, token, scope, resource, **more)

    def without_a_key(self, who: str) -> str | None:
        """See Target."""
        return self._exchange(who, self.root(who), "crm:read", CRM, client_secret="")

    def without_an_actor(self, who: str, token: str) -> str | None:
        """No exchange of its has an actor token; the client that asks is the actor."""
        del who
        return self.hand_on("boss", token, "writer")

    def twice(self, who: str) -> bool:
        """With a proof, since without one any request can be repeated by its sender alone."""
        key, url = generate(), self._base + "/token"
        shown = proof(key, htm="POST", htu=url, now=seconds())
        fields = {**self._who[who], "grant_type": "client_credentials", "scope": "crm:read"}
        answers = [self._http.post("/token", data=fields, headers={"DPoP": shown}) for _ in range(2)]
        assert answers[0].status_code == 200, answers[0].text
        return answers[1].status_code == 200

    def introspect(self, who: str | None, token: str) -> dict[str, Any] | None:
        """See Target."""
        fields = {"token": token, **(self._who[who] if who is not None else {})}
        answer = self._http.post("/introspect", data=fields)
        return dict(answer.json()) if answer.status_code == 200 else None

    def revoke(self, who: str, token: str) -> None:
        """See Target."""
        assert self._http.post("/revoke", data={"token": token, **self._who[who]}).status_code == 200


def environment_with(folder: Path, package: str) -> Path:
    """A virtual environment with this package, made now."""
    pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", package]
    for command in ([sys.executable, "-m", "venv", str(folder)], [str(folder / "bin" / "python"), *pip]):
        subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return folder


def _token(answer: httpx.Response) -> str | None:
    told = answer.json()
    return str(told["access_token"]) if answer.status_code == 200 and "access_token" in told else None
