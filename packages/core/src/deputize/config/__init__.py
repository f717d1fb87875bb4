"""Configuration: `deputize.toml`, or three mappings, to one immutable `Configuration`. Imports `model` only."""

from deputize.config.bundle import Bundle, parse_bundle
from deputize.config.configuration import Configuration, ServerSettings
from deputize.config.load import from_bundle, load
from deputize.config.mappings import from_mappings
from deputize.config.serveable import check_serveable
from deputize.config.starter import PORT, starter
from deputize.model.rules import OperatorRule

__all__ = [
    "PORT",
    "Bundle",
    "Configuration",
    "OperatorRule",
    "ServerSettings",
    "check_serveable",
    "from_bundle",
    "from_mappings",
    "load",
    "parse_bundle",
    "starter",
]
