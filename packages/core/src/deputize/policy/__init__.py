"""Policy: registry and files of Cedar compiled to one engine that decides. Imports `model` only."""

from deputize.policy.engine import CedarEngine, compile_policy
from deputize.policy.enough import enough

__all__ = ["CedarEngine", "compile_policy", "enough"]
