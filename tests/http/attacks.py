"""Attacks on an authorization server that delegates, and what a server needs to be attacked: any one, over HTTP alone.

An attack answers with what came of it. It is given a target that works: before each, the honest way is gone first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

CRM: Final = "https://crm.example/mcp"
HOPS: Final = 20


class Target(Protocol):
    """A server with the clients `boss`, `writer` and `stranger`. None: it was refused."""

    name: str

    def root(self, who: str) -> str:
        """A token of `who` from which the scopes crm:read and crm:write can be handed on."""
        ...

    def hand_on(self, who: str, token: str, to: str, scope: str = "crm:read") -> str | None:
        """`who` hands on to `to`; the token that `to` gets."""
        ...

    def access(
        self, who: str, token: str, scope: str | None = "crm:read", resource: str = CRM, **more: str
    ) -> str | None:
        """`who` presents `token` and asks for a token for a resource; `more` are fields of the form."""
        ...

    def without_a_key(self, who: str) -> str | None:
        """An exchange in the name of `who` by somebody who has its tokens and identifiers, and no secret or key."""
        ...

    def without_an_actor(self, who: str, token: str) -> str | None:
        """A hand-off whose actor token was left out."""
        ...

    def twice(self, who: str) -> bool:
        """Whether one request, sent again as it was, gives a second token."""
        ...

    def introspect(self, who: str | None, token: str) -> dict[str, Any] | None:
        """What `who` (None: a stranger) is told of a token."""
        ...

    def revoke(self, who: str, token: str) -> None:
        """`who` cuts off what `token` stands for."""
        ...


@dataclass(frozen=True, slots=True)
class Attack:
    """`run` says whether it worked. `breaks`: (file, text, other text) that takes the rule out of a copy of ours."""

    id: str
    what: str
    run: Callable[[Target], bool]
    breaks: tuple[tuple[str, str, str], ...]


def actors(told: dict[str, Any] | None) -> list[str]:
    """The chain in claims or in what introspection tells, outermost first."""
    found: list[str] = []
    act = (told or {}).get("act")
    while isinstance(act, dict):
        found.append(str(act.get("sub")))
        act = act.get("act")
    return found


def claims(token: str | None) -> dict[str, Any]:
    """What a token says."""
    from deputize.wire.jws import unverified_claims

    return unverified_claims(token) if token else {}


def _stolen(target: Target) -> bool:
    return target.access("stranger", target.root("writer")) is not None


def _keyless(target: Target) -> bool:
    return target.without_a_key("boss") is not None


def _replayed(target: Target) -> bool:
    return target.twice("boss")


def _lookalike(target: Target) -> bool:
    token = target.root("writer")
    others = (CRM + "/", CRM + ".evil", "https://crm.example.evil/mcp", CRM.upper())
    return any(target.access("writer", token, resource=other) for other in others)


def _widened(target: Target) -> bool:
    child = target.hand_on("boss", target.root("boss"), "writer", "crm:read")
    got = target.access("writer", child or "", "crm:read crm:write")
    return "crm:write" in str(claims(got).get("scope", ""))


def _unstated(target: Target) -> bool:
    child = target.hand_on("boss", target.root("boss"), "writer", "crm:read")
    return target.access("writer", child or "", None) is not None


def _actor_left_out(target: Target) -> bool:
    honest = actors(claims(target.hand_on("boss", target.root("boss"), "writer")))
    got = target.without_an_actor("boss", target.root("boss"))
    return got is not None and honest[0] not in actors(claims(got))


def _actor_passed_over(target: Target) -> bool:
    kind = "urn:ietf:params:oauth:token-type:jwt"
    return target.access("writer", target.root("writer"), actor_token="nobody's", actor_token_type=kind) is not None


def _flat(target: Target) -> bool:
    first = target.hand_on("boss", target.root("boss"), "boss")
    second = target.hand_on("boss", first or "", "writer")
    return len(actors(claims(second))) < len(actors(claims(first))) + 1


def _forgotten(target: Target) -> bool:
    child = target.hand_on("boss", target.root("boss"), "writer")
    return actors(target.introspect("writer", child or "")) != actors(claims(child))


def _bomb(target: Target) -> bool:
    token: str | None = target.root("boss")
    for _ in range(HOPS):
        token = target.hand_on("boss", token or "", "boss")
        if token is None:
            return False
    return True


def _outlives(target: Target) -> bool:
    root = target.root("boss")
    child = target.hand_on("boss", root, "writer") or ""
    target.revoke("boss", root)
    told = target.introspect("writer", child)
    return bool(told and told.get("active")) or target.access("writer", child) is not None


def _scanned(target: Target) -> bool:
    token = target.access("writer", target.root("writer")) or ""
    return any((target.introspect(who, token) or {}).get("active") for who in (None, "stranger"))


ATTACKS: Final = (
    Attack(
        "A-01",
        "another client presents a stolen subject token",
        _stolen,
        (
            ("authority/subject.py", "if claims.jkt != client.jkt:", "if False:"),
            ("authority/subject.py", "if node.agent != client.agent:", "if False:"),
        ),
    ),
    Attack(
        "A-03",
        "somebody with the tokens of a client and no secret or key exchanges in its name",
        _keyless,
        (
            (
                "wire/self_signed.py",
                "claims = jws.verify_foreign(token, typs={typ}, key_for=only, only_known=True)",
                "claims = jws.unverified_claims(token)",
            ),
        ),
    ),
    Attack(
        "A-04",
        "a request with its proof is sent again",
        _replayed,
        (
            ("authority/client_auth.py", "return tx.spend(", "return True or tx.spend("),
            ("server/service.py", "spend=lambda digest, until: store", "spend=lambda digest, until: True or store"),
        ),
    ),
    Attack(
        "A-05",
        "an audience that only looks like the resource",
        _lookalike,
        (
            (
                "model/registry.py",
                "entry = self.resources.get(name)",
                "entry = next((e for url, e in self.resources.items() if name.startswith(url)), None)",
            ),
        ),
    ),
    Attack(
        "A-06",
        "a scope that the hand-off gave up comes back",
        _widened,
        (("authority/access.py", "if right not in node.ceiling:", "if False:"),),
    ),
    Attack(
        "A-06",
        "no scope is stated, and means all",
        _unstated,
        (
            ("server/token.py", "if request.scope is None:", "if False:"),
            (
                "server/token.py",
                "scopes=frozenset(request.scope),",
                'scopes=frozenset(request.scope or ("crm:read",)),',
            ),
        ),
    ),
    Attack(
        "A-08",
        "the actor is stripped by leaving actor_token out",
        _actor_left_out,
        (
            (
                "server/token.py",
                "    actor_token = request.actor_token\n",
                '    actor_token = request.actor_token or dict(asked.items)["deputize_identity"]\n',
            ),
        ),
    ),
    Attack(
        "A-08",
        "an actor_token that proves nobody is passed over",
        _actor_passed_over,
        (
            (
                "server/token.py",
                'if request.actor_token is not None:\n        raise _refused(asked, InvalidRequest("an access',
                'if False:\n        raise _refused(asked, InvalidRequest("an access',
            ),
        ),
    ),
    Attack(
        "A-08",
        "a second hand-off overwrites act instead of nesting it",
        _flat,
        (
            (
                "authority/opening.py",
                "chain=() if linked else (to.id, *parent.chain),",
                "chain=() if linked else (to.id,),",
            ),
        ),
    ),
    Attack(
        "A-08",
        "introspection loses act",
        _forgotten,
        (("wire/introspection.py", "    if told.chain:\n", "    if False:\n"),),
    ),
    Attack(
        "A-10",
        f"{HOPS} hand-offs one below the other",
        _bomb,
        (("authority/opening.py", "if depth > most:", "if False:"),),
    ),
    Attack(
        "A-11",
        "a child goes on after its parent was revoked",
        _outlives,
        (
            (
                "authority/subject.py",
                "    dead = first_dead(cuts.line, now)\n",
                "    dead = first_dead(cuts.line[-1:], now)\n",
            ),
            ("authority/introspection.py", "first_dead(cuts.line, now)", "first_dead(cuts.line[-1:], now)"),
        ),
    ),
    Attack(
        "A-17",
        "whoever finds a token asks whether it lives",
        _scanned,
        (("authority/visible.py", "return told if mine else INACTIVE", "return told"),),
    ),
)

# Rows of the same list that are not attacked here, and why.
ELSEWHERE: Final = {
    "A-02": "is about what a resource server decides",
    "A-07": "needs an authority that writes `may_act` for its client; neither does when asked",
    "A-09": "every kind of token in every slot: tests/http/test_confusion.py, with the kinds of this authority",
    "A-12": "needs a token whose key can be taken from it; by A-01 here",
    "A-13": "needs a second issuer that the authority trusts: tests/http/test_confusion.py",
    "A-14": "needs an authority that fetches what a client names",
    "A-15": "needs attestation: tests/http/test_client_authentication.py; static secrets have no evidence to replay",
    "A-16": "needs users and agents in one authority: tests/http/test_exchange.py",
    "A-18": "is about what a model sees",
}
