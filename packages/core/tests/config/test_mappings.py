"""The shorthand: three mappings in place of a file."""

import pytest

from deputize.config import from_mappings
from deputize.model.failure import ConfigurationError
from deputize.model.resource import LOCAL_TOOLS, Right

CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"


def test_scopes_find_their_resource_and_other_names_are_local_tools() -> None:
    made = from_mappings(agents={"a": ["crm:read", "search", "tool:look"]}, resources={CRM: ["crm:read"]})
    agent = made.registry.agent("a")
    assert agent is not None
    assert agent.use == {Right(CRM, "crm:read"), Right(LOCAL_TOOLS, "tool:search"), Right(LOCAL_TOOLS, "tool:look")}
    assert agent.opens
    assert (made.users, made.store_url, made.policy_files) == ("unrestricted", "sqlite::memory:", ())
    assert made.registry.resource("crm").url == CRM


def test_nothing_at_all_is_an_authority_without_agents() -> None:
    assert not from_mappings().registry.agents


def test_a_scope_of_two_resources_must_say_which() -> None:
    both = {CRM: ["read"], WIKI: ["read"]}
    with pytest.raises(ConfigurationError) as caught:
        from_mappings(agents={"a": ["read"]}, resources=both)
    assert caught.value.key == "agents.a[0]"
    made = from_mappings(agents={"a": [f"{WIKI}#read"], "b": ["crm#read"]}, resources=both)
    held = {entry.name: entry.use for entry in made.registry.agents.values()}
    assert held == {"a": {Right(WIKI, "read")}, "b": {Right(CRM, "read")}}


@pytest.mark.parametrize(
    ("agents", "resources", "delegations"),
    [
        ({"a": ["crm:raed"]}, {CRM: ["crm:read"]}, None),
        ({"a": [f"{CRM}#write"]}, {CRM: ["crm:read"]}, None),
        ({"a": ["crm:read", "crm:read", "a b"]}, {CRM: ["crm:read"]}, None),
        ({"a b": []}, None, None),
        ({"a": []}, {"http://crm.example": ["x"]}, None),
        ({"a": []}, {CRM: []}, None),
        ({"a": []}, None, {"a": ["b"]}),
        ({"a": []}, None, {"b": ["a"]}),
        ({"a": "search"}, None, None),
        ({"a": [1]}, None, None),
        (["a"], None, None),
        ({"a": [], "A": []}, None, None),
        ({"*": []}, None, None),
    ],
)
def test_what_cannot_be_meant_is_refused(agents: object, resources: object, delegations: object) -> None:
    with pytest.raises(ConfigurationError):
        from_mappings(agents=agents, resources=resources, delegations=delegations)  # type: ignore[arg-type]  # on purpose


@pytest.mark.requirement("TX-21")
@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000"])
def test_plain_http_is_for_the_loopback_alone(host: str) -> None:
    assert from_mappings(resources={f"http://{host}/mcp": ["x"]}).registry.resource(f"http://{host}/mcp")
    for near in ("crm.example", "127.0.0.1.example", "localhost.example", "127.0.0.2", "10.0.0.1", "[::2]"):
        with pytest.raises(ConfigurationError):
            from_mappings(resources={f"http://{near}/mcp": ["x"]})


@pytest.mark.requirement("BCP-04")
@pytest.mark.parametrize("name", ["tail_1", "TAIL-1", "tail-l", "tai1-1"])
def test_no_two_agents_share_a_name_not_even_to_the_eye(name: str) -> None:
    with pytest.raises(ConfigurationError):
        from_mappings(agents={"tail-1": [], name: []})


def test_aliases_are_short_and_distinct() -> None:
    urls = [
        CRM,
        "https://crm.example/other",
        "https://www.shop.example/mcp",
        "http://127.0.0.1:9000/billing",
        "http://localhost:9001",
        "https://local.example",
        "urn:acme:ledger",
    ]
    made = from_mappings(resources={url: ["x"] for url in urls})
    aliases = [made.registry.resources[url].alias for url in urls]
    assert len({*aliases, "local"}) == len(urls) + 1
    alike = from_mappings(resources={"https://a1.example": ["x"], "https://al.example": ["y"]})
    assert len(alike.registry.resources) == 3
    assert aliases[:4] == ["crm", "crm-2", "shop", "billing"]


def test_a_delegator_holds_what_is_below_it_through_any_cycle() -> None:
    made = from_mappings(agents={"a": ["x"], "b": ["y"], "c": ["z"]}, delegations={"a": ["b"], "b": ["c"], "c": ["a"]})
    tools = {
        entry.name: ({right.scope[5:] for right in entry.use}, {right.scope[5:] for right in entry.delegate})
        for entry in made.registry.agents.values()
    }
    assert tools == {"a": ({"x"}, {"x", "y", "z"}), "b": ({"y"}, {"x", "y", "z"}), "c": ({"z"}, {"x", "y", "z"})}


def test_the_store_may_be_a_path_or_a_url() -> None:
    assert from_mappings(store="a.db").store_url == "sqlite:a.db"
    assert from_mappings(store="sqlite:a.db").store_url == "sqlite:a.db"
    assert from_mappings(store="postgresql://h/db").store_url == "postgresql://h/db"
