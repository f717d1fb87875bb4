"""In this process, with the file, by introspection: no revocation is seen by one kind of verifier alone (I13)."""

from typing import Any

import pytest

from deputize import DeputizeError, Mode
from deputize.runtime import resource_servers, verifier_for

WIKI = "https://wiki.example/mcp"


def tokens(firm: Any) -> dict[str, str]:
    """Tokens that name neither the user nor the agent that they hang below."""
    root = firm.root()
    middle = root.delegate("reader")
    made = {
        "of the root's child": root.delegate("writer"),
        "below the reader": middle.delegate("writer"),
        "of a link": middle.delegate("loner", mode=Mode.SELF),
        "of another user": firm.root(user="bob").delegate("writer"),
    }
    scope = {"below the reader": "crm:read"}
    found = {}
    for name, session in made.items():
        resource = "crm" if name in scope else "wiki"
        found[name] = session.access(resource, [scope.get(name, "wiki:read")]).reveal()
    return found


def taken(verifiers: dict[str, Any], name: str, token: str) -> bool:
    verifier = verifiers["crm" if name == "below the reader" else "wiki"]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verifier, "_check_binding", lambda *_: None)  # the proof is not what is looked at
            verifier.verify(token)
    except DeputizeError:
        return False
    return True


@pytest.mark.requirement("I13")
@pytest.mark.requirement("I7")
@pytest.mark.parametrize("kind", ["firm", "filed"])
@pytest.mark.parametrize("cause", [{"user": "alice"}, {"agent": "reader"}, {"agent": "boss"}])
def test_what_a_user_or_agent_takes_along_is_refused_by_every_verifier(
    kind: str, cause: dict[str, str], request: Any, broken: Any
) -> None:
    firm = request.getfixturevalue(kind)
    found = tokens(firm)

    def fresh() -> dict[str, Any]:
        return {name: verifier_for(firm.authority, f"https://{name}.example/mcp") for name in ("crm", "wiki")}

    early = fresh()
    assert all(taken(early, name, token) for name, token in found.items())
    firm.clock.advance(1)
    firm.authority.revoke(reason="stop", **cause)
    told = {name: firm.authority.introspect(token).active for name, token in found.items()}
    assert told["of another user"] is ("boss" not in cause.values())
    assert told["of a link"] is False
    for verifiers in (early, fresh()):
        assert {name: taken(verifiers, name, token) for name, token in found.items()} == told
    if kind == "firm":
        with broken(resource_servers, "_sessions_of", lambda *_: []):
            assert taken(fresh(), "of a link", found["of a link"])
