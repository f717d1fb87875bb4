# The only set-up is `make demo` or `make test`: both make .venv from the lock, hashes checked.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
export UV_SYSTEM_CERTS ?= 1
export VIRTUAL_ENV := $(CURDIR)/.venv

MEMBERS := packages/core packages/langchain_plugin packages/mcp_plugin examples/demo examples/agents
SYNCED := .venv/.synced

.PHONY: demo test check lock bench docs format clean

demo: $(SYNCED)
	@$(BIN)/deputize demo $(DEMO_ARGS)

test: $(SYNCED)
	@$(BIN)/python -m tools.suites run

check: $(SYNCED)
	@$(BIN)/python -m tools.check

bench: $(SYNCED)
	@$(BIN)/python -m benchmarks

docs: $(SYNCED)
	@$(BIN)/python -m tools.suites run docs

deep-%: $(SYNCED)
	@$(BIN)/python -m tools.suites deep $*

format: $(SYNCED)
	@$(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format -q .

# Reads names and versions from the index that this machine uses, and writes no host of it.
lock: .venv/bin/uv
	$(BIN)/uv lock --no-config -q
	$(BIN)/uv export --frozen --all-groups --no-emit-workspace --no-annotate --no-header -q -o requirements.lock
	$(BIN)/python -m tools.lockfile
	$(BIN)/python -m tools.environments

clean:
	rm -rf .venv dist

.venv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check "uv==$(UV_VERSION)"

$(SYNCED): requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS)) | .venv/bin/uv
	@echo "Setting up .venv ..."
	@$(BIN)/uv pip install -q --require-hashes -r requirements.lock
	@$(BIN)/uv pip install -q --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@
