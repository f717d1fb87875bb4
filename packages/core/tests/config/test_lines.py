"""Every key of a TOML text is found on its line, however it is written."""

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.config.lines import KeyPath, key_lines


def test_keys_of_every_form_are_found() -> None:
    text = '''\
# a comment with [brackets] and = signs
top = 1
"quoted key".'literal' = """
not = a key
"""            # line 3
[table]        # line 6
a.b = [1,
  2, # two
  { c = "]", d = '#' },
]

[ table . "sub.table" ]
when = 2026-12-31T00:00:00Z
[[list]]
x = { y = { z = 1 } }
[[list]]
[list.inner]
k = \'\'\'
[no]
\'\'\'
last = true'''
    tomllib.loads(text)
    lines = key_lines(text)
    assert lines["top",] == 2
    assert lines["quoted key", "literal"] == 3
    assert lines["table",] == 6
    assert lines["table", "a", "b"] == 7
    assert (lines["table", "a", "b", 1], lines["table", "a", "b", 2, "d"]) == (8, 9)
    assert lines["table", "sub.table", "when"] == 13
    assert (lines["list", 0], lines["list", 0, "x", "y", "z"]) == (14, 15)
    assert (lines["list", 1], lines["list", 1, "inner", "k"]) == (16, 18)
    assert lines["list", 1, "inner", "last"] == 21
    assert ("not",) not in lines
    assert ("list", 1, "inner", "no") not in lines


NAMES = st.sampled_from(["a", "b-c", "1", '"q.r"', "'s t'", '"\\u0041"'])
SCALARS = st.sampled_from(
    [
        "1",
        "true",
        "-1.5e3",
        "2026-12-31",
        "07:32:00",
        '"x # ] }"',
        "'y = ['",
        '"""\nz\n"]\n"""',
        "'''\n'q'\n'''",
        '""""q"""""',
    ]
)
GAPS = st.sampled_from(["", " ", "\n", " # ], x = 1\n", "\r\n"])


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "array", "table"])) if depth else "scalar"
    if kind == "scalar":
        return draw(SCALARS)
    inner = values(depth=depth - 1)
    if kind == "array":
        items = draw(st.lists(inner, max_size=3))
        return "[" + "".join(f"{draw(GAPS)}{item}{draw(GAPS)}," for item in items) + draw(GAPS) + "]"
    keys = draw(st.lists(NAMES, max_size=2, unique_by=lambda name: tomllib.loads(f"{name} = 1").popitem()[0]))
    return "{" + ", ".join(f"{key} = {draw(inner)}" for key in keys) + "}"


@st.composite
def texts(draw: st.DrawFn) -> str:
    rows = []
    for number in range(draw(st.integers(1, 4))):
        header = draw(st.sampled_from([f"[t{number}]", f'[ t{number} . "x y" ]', "[[many]]", f"[[m{number}.n]]"]))
        rows.append(header + draw(st.sampled_from(["", "  # [not]"])))
        rows.extend(f"k{key} = {draw(values())}" for key in range(draw(st.integers(0, 3))))
        rows.extend([""] * draw(st.integers(0, 1)))
    return "\n".join(rows)


def paths(value: object, at: KeyPath = ()) -> set[KeyPath]:
    found = {at} if at else set()
    if isinstance(value, dict):
        found = found.union(*(paths(inner, (*at, key)) for key, inner in value.items()))
    elif isinstance(value, list):
        found = found.union(*(paths(inner, (*at, index)) for index, inner in enumerate(value)))
    return found


@settings(max_examples=150, deadline=None)
@given(texts())
def test_every_path_that_the_parser_finds_has_a_line(text: str) -> None:
    lines = key_lines(text)
    rows = text.split("\n")
    for path in paths(tomllib.loads(text)):
        assert path in lines, path
        if isinstance(path[-1], str) and path[-1].startswith("k"):
            assert rows[lines[path] - 1].startswith(f"{path[-1]} ="), path
