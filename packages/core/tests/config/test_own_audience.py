"""`agent` and `a2a` of a resource: whose own audience it is."""

from pathlib import Path

import pytest

from deputize import ConfigurationError
from deputize.config import load

AGENTS = "version = 1\n[agents.researcher]\n"
DESK = '[resources.desk]\nurl = "https://r.example/a2a"\nscopes = ["ask"]\n'


def loaded(folder: Path, text: str) -> object:
    path = folder / "deputize.toml"
    path.write_text(text, encoding="utf-8")
    return load(str(path), environ={})


def test_a_resource_can_be_an_agents_own(tmp_path: Path) -> None:
    path = tmp_path / "deputize.toml"
    path.write_text(AGENTS + DESK + 'agent = "researcher"\na2a = "GRPC"\n', encoding="utf-8")
    entry = load(str(path), environ={}).registry.resource("desk")
    assert (entry.agent, entry.a2a) == ("spiffe://local/agent/researcher", "GRPC")


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('agent = "nobody"', "resources.desk.agent"),
        ('agent = "spiffe://local/agent/researcher"', "resources.desk.agent"),
        ('a2a = "JSONRPC"', "resources.desk.a2a"),
        ('agent = "researcher"\na2a = "REST"', "resources.desk.a2a"),
    ],
)
def test_what_names_no_agent_or_no_binding_is_refused_where_it_stands(tmp_path: Path, lines: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, AGENTS + DESK + lines)
    assert refused.value.key == key


@pytest.mark.requirement("PO-04")
def test_a_teams_resource_is_of_its_own_agents_alone(tmp_path: Path) -> None:
    main = 'version = 1\ninclude = ["team.toml"]\n[agents.researcher]\n'
    team = 'namespace = "churn"\n[agents.clerk]\n' + DESK
    (tmp_path / "team.toml").write_text(team + 'agent = "clerk"\n', encoding="utf-8")
    (tmp_path / "deputize.toml").write_text(main, encoding="utf-8")
    registry = load(str(tmp_path / "deputize.toml"), environ={}).registry
    assert registry.resource("churn/desk").agent == "spiffe://local/agent/churn/clerk"
    (tmp_path / "team.toml").write_text(team + 'agent = "researcher"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(str(tmp_path / "deputize.toml"), environ={})
