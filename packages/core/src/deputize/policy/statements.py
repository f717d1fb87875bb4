"""Files of Cedar policies: split into statements that know their lines, parsed, named, checked.

The engine gives neither line nor column, so the text is split at top-level semicolons (strings and comments
understood) and what it refuses is parsed statement by statement until the culprit is found.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import cedarpy
import orjson

from deputize.model.decision import DEFAULT_DENY
from deputize.model.failure import ConfigurationError
from deputize.model.rules import PolicyFile
from deputize.policy.rules import Statement
from deputize.policy.schema import SCHEMA

Est = Mapping[str, object]  # one policy in Cedar's JSON form

MAX_REASON: Final = 200  # characters of the engine's own words
MAX_DEPTH: Final = 32  # open brackets; the engine overruns its stack at some hundreds
MAX_OPERATORS: Final = 500  # of one policy; a chain of thousands overruns the stack too
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|;', re.DOTALL)
_NESTING: Final = re.compile(
    r'"(?:\\.|[^"\\])*"|//[^\n]*|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<chain>&&|[|]{2}|[-+*.!]|\bif\b)'
)
_GAP: Final = re.compile(r"(?:\s|//[^\n]*)*")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}\Z")
_POSITION: Final = re.compile(r"policy([0-9]+)\Z")
_TOO_DEEP: Final = "nested too deeply, or too long a chain of operators; split it into several policies"
_PREFIX: Final = re.compile(r"for policy `[^`]*`, ")


def split(file: PolicyFile) -> list[Statement]:
    """The statements of a file, each with the line on which it starts. A rest without semicolon is one too."""
    found: list[Statement] = []
    text = file.text
    start = _skip_gap(text, 0)
    for token in _TOKEN.finditer(text):
        if token[0] == ";" and token.start() >= start:
            found.append(_statement(file, start, token.end()))
            start = _skip_gap(text, token.end())
    if start < len(text):
        found.append(_statement(file, start, len(text)))
    return found


def parse(statements: Sequence[Statement]) -> list[tuple[Statement, Est]]:
    """Parse and name. Raises ConfigurationError at the first statement that is broken, a template, or unnamed."""
    for statement in statements:
        _check_nesting(statement)
    parsed: list[tuple[Statement, Est]] = []
    for statement, est in zip(statements, _est(statements), strict=True):
        name = _name(statement, est)
        parsed.append((replace(statement, id=name), est))
    if any(item.id is None for item in statements):  # the registry's own are flat by construction
        _check_readable(parsed)
    return parsed


def check_unique(statements: Sequence[Statement]) -> None:
    """Every id once, over all files and the registry. Raises ConfigurationError."""
    seen: dict[str | None, Statement] = {}
    for statement in statements:
        other = seen.setdefault(statement.id, statement)
        if other is not statement:
            where = f"{other.path}:{other.line}" if other.path and other.line else other.path or "the registry"
            message = f'policy id "{statement.id}" is taken by {where}'
            raise ConfigurationError(message, path=statement.path, line=statement.line)


def check_schema(statements: Sequence[Statement]) -> None:
    """Validate all at once. Raises ConfigurationError at the first statement that the schema refuses."""
    result = cedarpy.validate_policies("\n".join(item.text for item in statements), SCHEMA)
    if result.validation_passed:
        return
    errors = sorted((_position(error.policy_id), error.error) for error in result.errors)
    position, reason = errors[0] if errors else (-1, "refused by the schema")
    statement = statements[position] if 0 <= position < len(statements) else Statement(None, "")
    raise ConfigurationError(_brief(reason), path=statement.path, line=statement.line, key=statement.id)


def _check_nesting(statement: Statement) -> None:
    depth = deepest = chained = 0
    for token in _NESTING.finditer(statement.text):
        depth += (token["open"] is not None) - (token["close"] is not None)
        deepest = max(deepest, depth)
        chained += token["chain"] is not None
    if statement.id is None and (deepest > MAX_DEPTH or chained > MAX_OPERATORS):
        raise ConfigurationError(_TOO_DEEP, path=statement.path, line=statement.line)


def _check_readable(parsed: Sequence[tuple[Statement, Est]]) -> None:
    """The JSON form has a depth limit that the text has not; found now, it is no denial at run time."""
    try:
        cedarpy.PolicySet.from_json_str(est_document({str(item.id): orjson.dumps(est) for item, est in parsed}))
    except (ValueError, TypeError):  # the engine's limit, or that of the serialiser, which comes later
        if len(parsed) == 1:
            statement = parsed[0][0]
            raise ConfigurationError(_TOO_DEEP, path=statement.path, line=statement.line) from None
        for one in parsed:
            _check_readable([one])


def est_document(policies: Mapping[str, bytes]) -> str:
    """A policy set in Cedar's JSON form, from the JSON text of its policies."""
    body = b",".join(orjson.dumps(name) + b":" + est for name, est in policies.items())
    return (b'{"templates":{},"templateLinks":[],"staticPolicies":{' + body + b"}}").decode()


def _est(statements: Sequence[Statement]) -> list[Est]:
    """Cedar's JSON form of each statement, in order."""
    try:
        policies, templates = _parse_text("\n".join(item.text for item in statements))
    except ValueError:
        policies, templates = {}, {}
    names = [f"policy{position}" for position in range(len(statements))]
    if not templates and policies.keys() == set(names):
        return [policies[name] for name in names]
    for statement in statements:
        _blame_alone(statement)
    path = statements[0].path if statements else ""
    raise ConfigurationError("the policies of this file cannot be told apart", path=path)


def _blame_alone(statement: Statement) -> None:
    """Raise if this statement is not exactly one policy."""
    try:
        policies, templates = _parse_text(statement.text)
    except ValueError as error:
        raise ConfigurationError(_brief(str(error)), path=statement.path, line=statement.line) from None
    if templates:
        message = "templates (?principal, ?resource) are not supported; write the policy out"
        raise ConfigurationError(message, path=statement.path, line=statement.line)
    if len(policies) != 1:
        raise ConfigurationError("not one policy ending in `;`", path=statement.path, line=statement.line)


def _parse_text(text: str) -> tuple[dict[str, Est], dict[str, Est]]:
    document = orjson.loads(cedarpy.policies_to_json_str(text))
    return document["staticPolicies"], document["templates"]


def _name(statement: Statement, est: Est) -> str:
    annotations = est.get("annotations")
    name = annotations.get("id") if isinstance(annotations, Mapping) else None
    reason = None
    if not name:
        reason = 'a policy needs @id("..."): records name the policy that decided'
    elif name == DEFAULT_DENY:
        reason = f'"{DEFAULT_DENY}" is what records say when no policy permits'
    elif statement.id is None and not _ID.match(name):
        reason = "a policy id is 1-128 characters of A-Z a-z 0-9 . _ : / @ + -"
    if reason is not None:
        raise ConfigurationError(reason, path=statement.path, line=statement.line)
    return f"{statement.namespace}/{name}" if statement.namespace else str(name)


def _statement(file: PolicyFile, start: int, end: int) -> Statement:
    return Statement(None, file.text[start:end], file.path, file.text.count("\n", 0, start) + 1, file.namespace)


def _skip_gap(text: str, at: int) -> int:
    match = _GAP.match(text, at)
    return match.end() if match else at


def _position(policy: str) -> int:
    match = _POSITION.match(policy)
    return int(match[1]) if match else -1


def _brief(reason: str) -> str:
    return _PREFIX.sub("", reason).removeprefix("Policy parse error: ")[:MAX_REASON]
