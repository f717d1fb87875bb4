"""`deputize policy apply | history | rollback | show | diff`, as one would use them."""

from typing import Any

import pytest

from deputize import Authority
from deputize.errors import StoreError
from deputize.store.opening import open_store

MORE = ('use = { crm = ["crm:read"], local', 'use = { crm = ["crm:read", "crm:write"], local')


def edit(project: Any, old: str, new: str) -> None:
    text = project.file.read_text(encoding="utf-8")
    assert old in text
    project.file.write_text(text.replace(old, new, 1), encoding="utf-8")


def applied(project: Any, *more: str) -> str:
    done = project.run("policy", "apply", "--json", *more)
    assert done.status == 0, done.err
    return str(done.data["policy_set"])


def test_a_set_is_applied_looked_at_and_taken_back(project: Any) -> None:
    first = applied(project, "--asserted", "--reason", "begin")  # for a process in a program, which names its users
    edit(project, *MORE)
    looked = project.run("policy", "diff")
    assert looked.status == 0
    assert looked.out.splitlines()[0] == "~ agent researcher: use"
    assert project.run("policy", "diff", "--json").data["summary"] == ["~ agent researcher: use"]
    second = applied(project, "--reason", "INC-4711", "--expect", first[:12])
    told = project.run("policy", "history", "--json").data
    assert [(row["policy_set"], row["reason"], row["active"]) for row in told] == [
        (first, "begin", False),
        (second, "INC-4711", True),
    ]
    lines = project.run("policy", "history").out.splitlines()
    assert [line[0] for line in lines] == [" ", "*"]
    assert "INC-4711" in lines[1]
    back = project.run("policy", "rollback", "--reason", "too wide")
    assert (back.status, back.out) == (0, f"the store decides by policy set {first[:12]}\n")
    assert project.run("policy", "rollback", second[:8]).status == 0
    assert project.run("policy", "diff", first[:12], "active", "--json").data["summary"] == ["~ agent researcher: use"]
    with Authority.open(project.file) as authority:
        assert authority.engine.parts.rules.policy.digest == second


def test_a_set_is_shown_as_the_texts_that_were_applied(project: Any) -> None:
    digest = applied(project)
    before = project.file.read_text(encoding="utf-8")
    edit(project, *MORE)
    shown = project.run("policy", "show")
    assert shown.out.startswith(f"# policy set {digest}\n\n# ---- deputize.toml\n")
    files = project.run("policy", "show", digest[:8], "--json").data["files"]
    kept = [line for line in files["deputize.toml"].splitlines() if line.strip()]
    assert kept == [line for line in before.splitlines() if line.strip() and line in kept]
    assert "sqlite:" not in files["deputize.toml"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("policy", "rollback"), 1),
        (("policy", "rollback", "abcdef123456"), 1),
        (("policy", "show", "abcdef123456"), 1),
        (("policy", "diff", "abcdef123456"), 1),
        (("policy", "apply", "--expect", "abcdef123456"), 1),
    ],
)
def test_what_was_never_applied_is_a_negative_answer_and_moves_nothing(
    project: Any, command: tuple[str, ...], status: int
) -> None:
    digest = applied(project)
    edit(project, *MORE)
    assert project.run(*command).status == status
    assert [row["policy_set"] for row in project.run("policy", "history", "--json").data] == [digest]


def test_who_expected_another_set_is_told_so(project: Any) -> None:
    first = applied(project)
    edit(project, *MORE)
    second = applied(project)
    edit(project, "open = true", "open = false")
    late = project.run("policy", "apply", "--expect", first)
    assert (late.status, late.out) == (1, "")
    assert project.run("policy", "history", "--json").data[-1]["policy_set"] == second


@pytest.mark.parametrize("command", ["history", "rollback", "show", "diff"])
def test_looking_back_makes_no_store(project: Any, command: str) -> None:
    assert project.run("policy", command).status == 3
    assert not (project.folder / "deputize.db").exists()


@pytest.mark.parametrize("command", ["history", "rollback", "show", "diff"])
def test_looking_back_makes_no_schema_in_a_database(project: Any, database: Any, command: str) -> None:
    url = database.url()
    edit(project, "sqlite:deputize.db", url)
    assert project.run("policy", command).status == 3
    with pytest.raises(StoreError):
        open_store(url, create=False, readonly=True)


def test_a_text_from_the_store_moves_no_cursor(project: Any) -> None:
    edit(project, "version = 1", "version = 1\n# \u001b[2J\u202e")
    assert project.run("policy", "check").status in {0, 2}
    (project.folder / "policies").mkdir()
    (project.folder / "policies" / "a.cedar").write_text("// \u001b[2J\u202e gone", encoding="utf-8")
    edit(project, "# \u001b[2J\u202e", "")
    applied(project, "--reason", "\u001b[2J")
    for command in ("show", "history"):
        out = project.run("policy", command).out
        assert "\u001b[2J" not in out
        assert "\u202e" not in out
