"""Write a configuration and read it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from deputize.config import Configuration, load


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Configuration]:
    def build(text: str, environ: Mapping[str, str] | None = None) -> Configuration:
        path = tmp_path / "deputize.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ=environ or {})

    return build
