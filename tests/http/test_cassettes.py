"""Golden transcripts of the main exchanges, replayed to the client: it still understands what a server once answered.

No token is in them: each is cut out when it is recorded, and one that is bound to the key of the request stands in for
it when it is replayed. `make deep-peers` records them anew.
"""

import copy
import json
from pathlib import Path
from typing import Any, Final

import pytest
import vcr
import yaml

from deputize import Authority, Mode
from deputize.authority.joining import enroll
from deputize.client.evidence import Join
from deputize.errors import Denied
from deputize.wire import jws
from deputize.wire.alg import generate
from deputize.wire.jwk import verifying_key
from deputize.wire.thumbprint import public_jwk, thumbprint
from tests.http.raw import World

FOLDER: Final = Path(__file__).parent / "cassettes"
BASE: Final = "http://127.0.0.1:8700"  # nobody listens there
CUT: Final = "<cut>"
STORIES: Final = ("on_behalf_of", "self", "impersonation", "refused")


def _told(story: str, authority: Authority) -> list[str]:
    """What the client makes of it."""
    if story == "self":
        with authority.session(agent="writer", mode=Mode.SELF, scopes=["crm:read"]) as session:
            return [session.subject, str(session.access("crm", ["crm:read"]).bound), session.state]
    if story == "impersonation":
        with authority.session(agent="writer", mode=Mode.SELF, scopes=["crm:read"]) as session:
            access = session.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, user="alice", reason="nightly")
            return [session.subject, str(access.bound)]
    with authority.session(agent="boss", user="alice", task="q3") as session:
        child = session.delegate("reader", task="read")
        if story == "on_behalf_of":
            access = child.access("crm", ["crm:read"])
            return [child.subject, *child.chain, str(access.bound)]
        with pytest.raises(Denied) as refused:
            child.access("crm", ["crm:write"])
        return [refused.value.code, str(refused.value.denial.policy)]


TOLD: Final = {
    "on_behalf_of": ["local|alice", "spiffe://example.org/agent/reader", "spiffe://example.org/agent/boss", "True"],
    "self": ["spiffe://example.org/agent/writer", "True", "open"],
    "impersonation": ["spiffe://example.org/agent/writer", "True"],
    "refused": ["access_denied", "session-ceiling"],
}


def _recorded(request: Any) -> Any:
    kept = copy.deepcopy(request)
    kept.body = None
    kept.headers = {}
    return kept


def _without_tokens(response: Any) -> Any:
    response = copy.deepcopy(response)
    body = response["content"] if "content" in response else response["body"]["string"]
    told = json.loads(body)
    if "access_token" in told:
        told["access_token"] = CUT
    text = json.dumps(told)
    if "content" in response:
        response["content"] = text
    else:
        response["body"]["string"] = text.encode()
    response["headers"] = {"Content-Type": ["application/json"]}
    return response


class Stage:
    """Gives each answer a token that is bound to the key of the request that it answers."""

    def __init__(self) -> None:
        self.cassette: Any = None

    def __call__(self, request: Any) -> Any:
        proof = request.headers.get("DPoP")
        if self.cassette is None or proof is None:
            return request
        jkt = thumbprint(public_jwk(verifying_key(dict(jws.peek(proof).jwk or {})).key))
        token = jws.sign("at+jwt", {"cnf": {"jkt": jkt}}, generate())
        for index, (told, response) in enumerate(self.cassette.data):
            if self.cassette.play_counts[index] == 0 and told.path == request.path:
                text = response["body"]["string"]
                response["body"]["string"] = text.replace(CUT.encode(), token.encode())
                break
        return request


@pytest.mark.filterwarnings("ignore:'encoding' argument:EncodingWarning")  # vcrpy's own way of opening a file
@pytest.mark.parametrize("story", STORIES)
def test_the_client_understands_what_was_answered_once(story: str) -> None:
    stage = Stage()
    tape = vcr.VCR(record_mode="none", match_on=["method", "path"], before_record_request=stage)
    with tape.use_cassette(str(FOLDER / f"{story}.yaml")) as cassette:
        stage.cassette = cassette
        with Authority.connect(BASE, attestor=Join("deputize-join-" + "A" * 43)) as authority:
            assert _told(story, authority) == TOLD[story]
        assert cassette.all_played


@pytest.mark.requirement("I9", "TT-04")
def test_no_token_is_in_a_transcript() -> None:
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "eyJ" not in text
        assert all(
            one["request"]["body"] is None and not one["request"]["headers"]
            for one in yaml.safe_load(text)["interactions"]
        )
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(STORIES)


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore:'encoding' argument not specified:EncodingWarning")  # vcrpy writes the file so
@pytest.mark.parametrize("story", STORIES)
def test_it_is_recorded_anew(story: str, tmp_path: Path) -> None:
    world = World.begin(tmp_path)
    path = FOLDER / f"{story}.yaml"
    path.unlink(missing_ok=True)
    tape = vcr.VCR(record_mode="once", before_record_request=_recorded, before_record_response=_without_tokens)
    attestor = Join(enroll(world.engine.parts, "churn", by="test").token)
    with (
        tape.use_cassette(str(path), match_on=["method", "path"], allow_playback_repeats=False),
        Authority.connect(world.base, attestor=attestor) as authority,
    ):
        assert _told(story, authority) == TOLD[story]
    path.write_text(path.read_text(encoding="utf-8").replace(world.base, BASE), encoding="utf-8")
    world.end()
