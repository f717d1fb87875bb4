"""What no committed file may hold: a package registry's host, a secret, a path of this machine."""

import configparser
import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from tools.tree import ROOT, committed, relative, text_of

# Joined here, so that this file passes its own check.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("golang", "org"),
        ("rubygems", "org"),
        ("anaconda", "org"),
    )
)
INDEX_VARIABLES = re.compile(r"(?:UV|PIP|NPM_CONFIG)_.*(?:INDEX|REGISTRY|FIND_LINKS)", re.IGNORECASE)
PIP_FILES = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")

SECRET_NAMES: tuple[str, ...] = (
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.keystore",
    "*.db",
    "*.sqlite",
    "*.sqlite3",
)
SECRET_NAMES += (".env", ".env.*", ".netrc", ".pypirc", "id_rsa*", "id_ed25519*", "id_ecdsa*")
SECRET_TEXTS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*(?:\\n|\"|')?\s*[A-Za-z0-9+/]{40}"),
    "a cloud access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a forge token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,}|glpat-[\w-]{20,})"),
    "a chat token": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    "a model provider's key": re.compile(r"\bsk-(?:ant-|proj-|live-)?[A-Za-z0-9_-]{32,}"),
    "a registry token": re.compile(r"_authToken\s*=\s*\S+|\bpypi-Ag[A-Za-z0-9_-]{50,}"),
}


def registry_hosts() -> list[str]:
    """Findings: places where a registry's host stands, a public one or one this machine is set up for."""
    hosts = {*REGISTRIES, *_configured_hosts()}
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(re.escape(host) for host in sorted(hosts)) + r")\b", re.IGNORECASE)
    return [f"{place}: a registry's host" for place in _places(pattern, text_of(committed()))]


def secrets() -> list[str]:
    """Findings: files that are named like secrets, and texts that look like one."""
    paths = committed()
    named = [
        f"{relative(path)}: named like a secret"
        for path in paths
        if any(fnmatchcase(path.name, pattern) for pattern in SECRET_NAMES)
    ]
    texts = list(text_of(paths))
    seen = [
        f"{place}: looks like {what}" for what, pattern in SECRET_TEXTS.items() for place in _places(pattern, texts)
    ]
    return named + seen


def machine_paths() -> list[str]:
    """Findings: places that name this checkout's folder or this user's home."""
    own = {str(ROOT), str(Path.home())} - {"/", "/root"}
    pattern = re.compile(r"(?<![\w./-])(?:" + "|".join(re.escape(path) for path in sorted(own)) + r")(?![\w-])")
    return [f"{place}: a path of this machine" for place in _places(pattern, text_of(committed()))]


def _places(pattern: re.Pattern[str], texts: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in texts:
        for match in pattern.finditer(text):
            yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}"


def _configured_hosts() -> Iterator[str]:
    for name, value in os.environ.items():
        if INDEX_VARIABLES.fullmatch(name):
            yield from _hosts_in(value)
    for file in PIP_FILES:
        settings = configparser.RawConfigParser()
        settings.read(Path(file).expanduser(), encoding="utf-8")
        for section in settings.sections():
            for option, value in settings.items(section):
                if option.replace("_", "-") in {"index-url", "extra-index-url", "find-links", "index"}:
                    yield from _hosts_in(value)


def _hosts_in(value: str) -> Iterator[str]:
    for word in value.split():
        host = urlsplit(word).hostname
        if host and host not in {"localhost", "127.0.0.1", "::1"}:
            yield host
