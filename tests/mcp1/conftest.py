"""Tests of another lock (`make deep-adapters`). In an environment without its packages there is nothing to collect."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("langchain_mcp_adapters") else ["test_*.py"]
