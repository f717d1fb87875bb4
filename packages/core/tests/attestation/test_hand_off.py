"""Sessions between agents of attested workloads: what the server's functions do with clients from outside."""

from typing import Any

import pytest

from deputize.authority import opening
from deputize.model.failure import InvalidToken
from deputize.model.request import HandOffRequest, RootRequest
from deputize.model.session import Mode


def test_an_attested_agent_hands_on_to_another_that_its_workload_hosts(site: Any) -> None:
    rights = (
        '[agents.supervisor]\nopen = true\nuse = { local = ["plan"] }\ndelegate = { local = ["search"] }\n'
        'delegate_to = ["researcher"]\n[agents.researcher]\nuse = { local = ["search"] }\n'
    )
    site.apply("[agents.supervisor]\nopen = true\n[agents.researcher]\n", rights)
    key, workload = site.workload()
    own, found = site.agent("supervisor", key, workload.token)
    client = site.ask(own, found.token)
    root = opening.open_root(site.parts, client, RootRequest(mode=Mode.SELF))
    assert (root.node.workload, root.node.attestation, root.jkt) == (client.workload, "kubernetes", own.kid)
    other, hosted = site.agent("researcher", key, workload.token)
    asked = {"subject_token": root.token, "to": "researcher"}
    child = opening.hand_off(site.parts, site.tokens, client, HandOffRequest(actor_token=hosted.token, **asked))
    assert (child.node.agent.rpartition("/")[2], child.jkt) == ("researcher", other.kid)

    elsewhere, mesh = site.workload(site.svid())
    _, stranger = site.agent("researcher", elsewhere, mesh.token)
    with pytest.raises(InvalidToken) as caught:
        opening.hand_off(site.parts, site.tokens, client, HandOffRequest(actor_token=stranger.token, **asked))
    assert caught.value.code == "wrong_actor"
    with pytest.raises(InvalidToken) as caught:
        opening.hand_off(site.parts, site.tokens, client, HandOffRequest(actor_token=workload.token, **asked))
    assert caught.value.code == "wrong_actor"

    site.apply(
        'agents = ["supervisor", "researcher", "auditor"]',
        'agents = ["supervisor", "auditor"]',
        more=("[agents.supervisor]\nopen = true\n[agents.researcher]\n", rights),
    )
    with pytest.raises(InvalidToken) as caught:
        opening.hand_off(site.parts, site.tokens, client, HandOffRequest(actor_token=hosted.token, **asked))
    assert caught.value.code == "wrong_actor"
    assert len(site.records("handoff.denied")) == 3
