"""`deputize.toml` from disk to a `Configuration`."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deputize.config.attestation import attestation_rules
from deputize.config.blame import Blame
from deputize.config.build import build_registry, checked
from deputize.config.configuration import Configuration, ServerSettings
from deputize.config.document import DEFAULT_POLICIES, Document
from deputize.config.lines import key_lines
from deputize.config.rules import check_issuer, impersonation_grants, operator_rules, user_rules
from deputize.config.validate import document_of, override
from deputize.model.failure import ConfigurationError
from deputize.model.limits import Limits
from deputize.model.rules import PolicyFile

MAX_FILE: Final = 8 * 1024 * 1024  # bytes


def load(path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> Configuration:
    """Read, check and resolve a configuration file and the policy files that it names.

    `environ` (default: that of the process) may override scalars: `DEPUTIZE_<SECTION>_<KEY>`.
    Raises ConfigurationError with file, line and key path.
    """
    file = Path(path)
    text = _read(file)
    data = _parse(text, str(file))
    data, names = override(data, os.environ if environ is None else environ)
    blame = Blame(str(file), key_lines(text), names)
    return configure(document_of(data, blame), blame, file.parent)


def configure(document: Document, blame: Blame, base: Path) -> Configuration:
    """Resolve a checked document; relative paths in it start at `base`. Raises ConfigurationError."""
    _refuse_what_is_not_there_yet(document, blame)
    registry = build_registry(document, blame)
    rules = user_rules(document, blame)
    checked(blame, ("authority", "issuer"), lambda: check_issuer(document.authority.issuer))
    written = document.authority.users
    return Configuration(
        registry=registry,
        issuer=document.authority.issuer,
        trust_domain=document.authority.trust_domain,
        algorithm=document.authority.algorithm,
        users=written or ("listed" if rules else "unrestricted"),
        users_written=written is not None,
        store_url=_store(document, blame, base),
        durability=document.store.durability,
        limits=_limits(document, blame),
        policy_files=_policy_files(document, blame, base),
        user_rules=rules,
        attestation_rules=attestation_rules(document, registry, blame),
        impersonation=impersonation_grants(document, registry, blame),
        task_text=document.audit.task_text,
        retention=document.audit.retention,
        checkpoint_every=document.audit.checkpoint_every,
        checkpoint_to=tuple(document.audit.checkpoint_to),
        server=_server(document),
        operators=operator_rules(document, blame),
        path=blame.path,
    )


def _read(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", path=str(file)) from None
    if len(raw) > MAX_FILE:
        raise ConfigurationError("is larger than 8 MiB", path=str(file))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigurationError("is not UTF-8 text", path=str(file), line=line) from None


def _parse(text: str, path: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _place(str(error), text)
        raise ConfigurationError(f"not valid TOML: {reason}", path=path, line=line) from None
    except RecursionError:
        raise ConfigurationError("not valid TOML: nested too deeply", path=path) from None


def _place(message: str, text: str) -> tuple[str, int]:
    """`tomllib` says "<reason> (at line 3, column 7)" or "(at end of document)"."""
    reason, _, place = message.rpartition(" (at ")
    line = place.removeprefix("line ").partition(",")[0]
    return (reason or message)[:160], int(line) if line.isdecimal() else text.count("\n") + 1


def _refuse_what_is_not_there_yet(document: Document, blame: Blame) -> None:
    if document.include:
        raise blame.error(("include",), "included files are not supported yet; keep one file")
    if document.policy.shadow:
        raise blame.error(("policy", "shadow"), "shadow policies are not supported yet")


def _limits(document: Document, blame: Blame) -> Limits:
    limits = document.limits
    if limits.session_ttl > limits.session_ttl_max:
        raise blame.error(("limits", "session_ttl"), "is above limits.session_ttl_max")
    return Limits(**limits.model_dump())


def _server(document: Document) -> ServerSettings:
    values = document.server.model_dump() | {"trusted_proxies": tuple(document.server.trusted_proxies)}
    return ServerSettings(**values)


def _store(document: Document, blame: Blame, base: Path) -> str:
    url = document.store.url
    scheme, colon, rest = url.partition(":")
    if scheme in {"postgresql", "postgres"} and rest.startswith("//"):
        if ":" in rest[2:].rpartition("@")[0]:
            message = "holds a password; hand it over in DEPUTIZE_STORE_PASSWORD or PGPASSFILE"
            raise blame.error(("store", "url"), message)
        return url
    if scheme != "sqlite" or not colon or not rest:
        raise blame.error(("store", "url"), "is sqlite:<path>, sqlite::memory: or postgresql://host/database")
    return url if rest == ":memory:" else f"sqlite:{base / rest}"


def _policy_files(document: Document, blame: Blame, base: Path) -> tuple[PolicyFile, ...]:
    """In the order of the list, each pattern's files sorted; a file that two patterns match is read once."""
    found: dict[Path, PolicyFile] = {}
    for index, pattern in enumerate(document.policy.files):
        key: tuple[str | int, ...] = ("policy", "files", index)
        files = _matches(pattern, base)
        if not files and pattern != DEFAULT_POLICIES:  # a forbid that is not found would permit
            raise blame.error(key, "no such file")
        for file in files:
            found.setdefault(file.resolve(), PolicyFile(path=str(file), text=_read(file)))
    return tuple(found.values())


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _matches(pattern: str, base: Path) -> list[Path]:
    if not _is_pattern(pattern):
        return [base / pattern] if (base / pattern).is_file() else []
    plain = Path(pattern)
    root = Path(plain.anchor) if plain.is_absolute() else base
    relative = plain.relative_to(plain.anchor) if plain.is_absolute() else plain
    try:
        return sorted(path for path in root.glob(str(relative)) if path.is_file())
    except (ValueError, NotImplementedError):
        return []
