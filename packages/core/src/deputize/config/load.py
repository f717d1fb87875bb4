"""`deputize.toml` from disk, or a policy set from a store, to a `Configuration`."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deputize.config.attestation import attestation_rules
from deputize.config.blame import Blame
from deputize.config.build import build_registry, checked
from deputize.config.bundle import OF_ONE_REPLICA, Bundle, shared_text
from deputize.config.configuration import Configuration, ServerSettings
from deputize.config.document import DEFAULT_POLICIES, Document
from deputize.config.environment import deciding, override
from deputize.config.files import DiskFiles, Files
from deputize.config.include import Merged, Team, merge, policy_folder
from deputize.config.lines import KeyPath, key_lines
from deputize.config.rules import check_issuer, impersonation_grants, operator_rules, user_rules
from deputize.config.toml import parse_toml
from deputize.config.validate import document_of
from deputize.model.failure import ConfigurationError
from deputize.model.limits import Limits
from deputize.model.rules import PolicyFile

_DATA = ".json"  # of a main file that was never written as TOML: the three mappings


def load(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None, asserted: bool = True, added: str = ""
) -> Configuration:
    """Read, check and resolve a configuration file, what it includes, and the policy files that these name.

    `environ` may override scalars: `DEPUTIZE_<SECTION>_<KEY>`. Nothing else is read of it. `asserted`: whether a
    host's word for its user is enough (see Configuration). `added`: text that is read as if the file ended with it.
    Raises ConfigurationError with file, line and key path, or with the variable.
    """
    file = Path(path)
    files = DiskFiles(file.parent, {file.name: added})
    environ = environ or {}
    made = _resolved(files, file.name, environ, file.parent)
    texts = {**files.texts, file.name: shared_text(files.texts[file.name], str(file))}
    bundle = Bundle(
        main=file.name, files=texts, matches=files.matches, environment=deciding(environ), asserted=asserted
    )
    return replace(made, asserted=asserted, bundle=bundle)


def from_bundle(bundle: Bundle, *, replica: Configuration | None = None) -> Configuration:
    """The configuration that a policy set stands for; what is of one replica alone comes from `replica`.

    Raises ConfigurationError.
    """
    read = _resolved(bundle.opened(), bundle.main, bundle.environment, Path())
    made = replace(read, asserted=bundle.asserted, bundle=bundle)
    if replica is None:
        return made
    return replace(
        made,
        issuer=replica.issuer,
        algorithm=replica.algorithm,
        store_url=replica.store_url,
        durability=replica.durability,
        checkpoint_every=replica.checkpoint_every,
        checkpoint_to=replica.checkpoint_to,
        server=replica.server,
    )


def from_data(data: Mapping[str, object], blame: Blame) -> Configuration:
    """From data that no file holds. Its patterns of files match nothing. Raises ConfigurationError."""
    shared = {key: value for key, value in data.items() if key not in OF_ONE_REPLICA}
    name = f"mappings{_DATA}"
    bundle = Bundle(main=name, files={name: json.dumps(shared, sort_keys=True)})
    document = document_of(data, blame)
    made = _configured(merge(document, blame, bundle.opened()), bundle.opened(), Path())
    return replace(made, bundle=bundle)


def _resolved(files: Files, main: str, environ: Mapping[str, str], base: Path) -> Configuration:
    """Relative paths of the replica's own sections start at `base`."""
    text, shown = files.read(main), files.shown(main)
    plain = main.endswith(_DATA)
    data, names = override(_json(text, shown) if plain else parse_toml(text, shown), environ)
    blame = Blame(shown, {} if plain else key_lines(text), names)
    return _configured(merge(document_of(data, blame), blame, files), files, base)


def _json(text: str, path: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ConfigurationError("is no JSON object", path=path)
    return data


def _configured(merged: Merged, files: Files, base: Path) -> Configuration:
    """Resolve checked documents. Raises ConfigurationError."""
    document, blame = merged.document, merged.blame
    if document.policy.shadow:
        raise blame.error(("policy", "shadow"), "shadow policies are not supported yet")
    registry = build_registry(document, blame, merged.namespaces)
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
        policy_files=_policy_files(merged, files),
        user_rules=rules,
        attestation_rules=attestation_rules(document, registry, blame),
        impersonation=impersonation_grants(document, registry, blame),
        task_text=document.audit.task_text,
        retention=document.audit.retention,
        checkpoint_every=document.audit.checkpoint_every,
        checkpoint_to=tuple(document.audit.checkpoint_to),
        server=_server(document, base),
        operators=operator_rules(document, blame),
        path=blame.path,
    )


def _limits(document: Document, blame: Blame) -> Limits:
    limits = document.limits
    if limits.session_ttl > limits.session_ttl_max:
        raise blame.error(("limits", "session_ttl"), "is above limits.session_ttl_max")
    return Limits(**limits.model_dump())


def _server(document: Document, base: Path) -> ServerSettings:
    section = document.server
    socket = str(base / section.unix_socket) if section.unix_socket else ""
    values = section.model_dump() | {
        "trusted_proxies": tuple(section.trusted_proxies),
        "metrics_from": tuple(section.metrics_from),
        "unix_socket": socket,
    }
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


def _policy_files(merged: Merged, files: Files) -> tuple[PolicyFile, ...]:
    """In the order of the lists, each pattern's files sorted; a file that two patterns match is read once."""
    found: dict[str, PolicyFile] = {}
    for index, pattern in enumerate(merged.document.policy.files):
        names = files.matching(pattern, "")
        if not names and pattern != DEFAULT_POLICIES:  # a forbid that is not found would permit
            raise merged.blame.error(("policy", "files", index), "no such file")
        for name in names:
            if files.same(name) not in found:
                found[files.same(name)] = PolicyFile(path=files.shown(name), text=files.read(name))
    for team in merged.teams:
        for index, pattern in enumerate(team.document.policy.files):
            _team_policies(team, files, pattern, ("policy", "files", index), found)
    return tuple(found.values())


def _team_policies(team: Team, files: Files, pattern: str, key: KeyPath, found: dict[str, PolicyFile]) -> None:
    """Add what one pattern of a team names: files beside its own that are nobody else's.

    The policies of a file that two name would be held to two namespaces, or to none.
    """
    names = files.matching(pattern, policy_folder(team))
    if not names:
        raise team.blame.error(key, "no such file")
    for name in names:
        if not files.inside(name, policy_folder(team)):
            raise team.blame.error(key, "leads out of the folder of this file")
        other = found.get(files.same(name))
        if other is not None and other.namespace != team.namespace:
            raise team.blame.error(key, "is named by another file too, as one of its own")
        if other is None:
            path, text = files.shown(name), files.read(name)
            found[files.same(name)] = PolicyFile(path=path, text=text, namespace=team.namespace)
