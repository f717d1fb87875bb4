"""Configuration: `deputize.toml`, or three mappings, to one immutable `Configuration`. Imports `model` only."""

from deputize.config.configuration import Configuration, OperatorRule, ServerSettings
from deputize.config.load import load
from deputize.config.mappings import from_mappings
from deputize.config.starter import starter

__all__ = ["Configuration", "OperatorRule", "ServerSettings", "from_mappings", "load", "starter"]
