"""docs/configuration.md against the models that read the file, both ways."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from deputize.config.document import Document
from deputize.config.environment import scalars
from deputize.config.load import load
from deputize.errors import ConfigurationError
from tools.tree import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
NOT_YET = "What this release does not take yet"
REQUIRED = {("resources", "url"), ("resources", "scopes")}  # absent for `local` alone, which config.build checks


def sections() -> Iterator[tuple[str, str, type[BaseModel]]]:
    """(heading on the page, key in the file, model) of every section."""
    yield "top of the file", "", Document
    for name, field in Document.model_fields.items():
        kind, arguments = field.annotation, get_args(field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield f"`[{name}]`", name, kind
        elif get_origin(kind) is dict:
            inner = {"resources": "alias", "agents": "name"}[name]
            yield f"`[{name}.<{inner}>]`", name, arguments[-1]
        elif get_origin(kind) is list and isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel):
            yield f"`[[{name}]]`", name, arguments[0]


SECTIONS = list(sections())


def chapter(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no chapter {heading}"
    return found[1]


def rows(heading: str) -> dict[str, list[str]]:
    """Key -> the other cells of its row. A bar inside a cell is written with a backslash."""
    split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in chapter(heading).splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in split}


def is_section(field: FieldInfo) -> bool:
    kinds = [field.annotation, *get_args(field.annotation)]
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


@pytest.mark.parametrize(("heading", "name", "model"), SECTIONS, ids=[row[0] for row in SECTIONS])
def test_a_section_has_the_keys_and_defaults_of_its_model(heading: str, name: str, model: type[BaseModel]) -> None:
    fields = {key: field for key, field in model.model_fields.items() if not (model is Document and is_section(field))}
    documented = rows(heading)
    assert list(documented) == list(fields)
    for key, (default, meaning, _refused) in documented.items():
        assert meaning, key
        assert stated(default, fields[key]) == actual(name, key, fields[key]), f"{heading} {key}"


def stated(cell: str, field: FieldInfo) -> Any:
    if cell in {"required", "unset"}:
        return cell
    value = tomllib.loads(f"x = {cell.strip('`')}")["x"]
    return TypeAdapter(field.rebuild_annotation()).validate_python(value)


def actual(name: str, key: str, field: FieldInfo) -> Any:
    if field.is_required() or (name, key) in REQUIRED:
        return "required"
    return "unset" if field.default is None else field.default


def test_every_chapter_about_keys_is_a_section_of_the_file() -> None:
    documented = re.findall(r"^## (`\[.*\]`|top of the file)$", PAGE, re.MULTILINE)
    assert documented == [heading for heading, _, _ in SECTIONS]


def test_the_variables_are_those_that_are_read() -> None:
    named = re.findall(r"\bDEPUTIZE_[A-Z_]+[A-Z]\b", chapter("Environment"))
    assert named == [scalar.name for scalar in scalars()]


def test_the_variables_that_change_the_set_are_those_that_the_page_names() -> None:
    said = re.search(r"^Those of `LIMITS`, (.*) change what is decided", chapter("Environment"), re.MULTILINE)
    assert said is not None
    named = {name.strip("`") for name in re.split(r", | and ", said[1])}
    deciding = {scalar.name.removeprefix("DEPUTIZE_") for scalar in scalars() if scalar.decides}
    assert {name for name in deciding if not name.startswith("LIMITS_")} == named


@pytest.mark.parametrize("text", ['[policy]\nshadow = ["a.cedar"]\nfiles = []', '[agents."*"]\nopen = true'])
def test_what_is_said_to_be_refused_is_refused(tmp_path: Any, text: str) -> None:
    assert "shadow" in chapter(NOT_YET)
    path = tmp_path / "deputize.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(path, environ={})


def test_the_example_is_a_configuration_that_loads(tmp_path: Any) -> None:
    block, *_ = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "deputize.toml"
    path.write_text(block, encoding="utf-8")
    assert {entry.name for entry in load(path, environ={}).registry.agents.values()} == {"supervisor", "researcher"}


def test_the_example_of_a_team_loads_once_the_other_team_takes_its_hand_offs(tmp_path: Any) -> None:
    main, team = re.findall(r"```toml\n(# .*?)```", chapter("Included files"), re.DOTALL)
    for name, text in (
        ("deputize.toml", main),
        ("teams/churn.toml", team),
        ("teams/churn/own.cedar", ""),
        ("teams/billing.toml", 'namespace = "billing"\n[agents.clerk]\n'),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(tmp_path / "deputize.toml")
    (tmp_path / "teams/billing.toml").write_text(
        'namespace = "billing"\n[agents.clerk]\naccept_from = ["churn/boss"]\n', encoding="utf-8"
    )
    assert load(tmp_path / "deputize.toml").registry.agent("churn/boss") is not None


BOUNDS = [
    (section, key, bound)
    for section in ("`[limits]`",)
    for key, (_, _, refused) in rows(section).items()
    for bound in re.findall(r"above `(\d+[smhd])`", refused)
]


@pytest.mark.parametrize(("section", "key", "bound"), BOUNDS)
def test_a_limit_is_taken_at_its_bound_and_refused_above_it(tmp_path: Any, section: str, key: str, bound: str) -> None:
    path = tmp_path / "deputize.toml"
    path.write_text(f'{section.strip("`")}\n{key} = "{bound}"\n', encoding="utf-8")
    load(path, environ={})
    count, unit = int(bound[:-1]), bound[-1]
    seconds = count * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit] + 1
    path.write_text(f'{section.strip("`")}\n{key} = "{seconds}s"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(path, environ={})
