# Everything a newcomer needs: `make devnet` shows a neighbourhood, `make test` checks the house.
# No compiler, no root: a virtual environment in .venv, and exactly the packages of uv.lock.
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
CAMPAIGNS := chaos mutants kills enemies fuzz fuzz-api slow-links catch-up

.PHONY: setup devnet test test-interop test-nat lint types contracts check format clean \
  bench-transfers bench-market neighbourhood reliability reliability-document $(CAMPAIGNS)

setup: .venv/.installed

.venv/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "E-Cloud needs Python 3.11 or newer; name one with: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "This Python cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV= UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv sync --frozen --quiet --inexact --link-mode=copy --compile-bytecode
	@touch $@

devnet: setup
	$(BIN)/ecloud devnet up

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# A foreign client, js-libp2p, at real nodes. Needs Node 20 or newer, npm and its registry; `make test` runs these tests
# only where this has been done.
test-interop: setup tests/interop/node_modules/.package-lock.json
	INTEROP=required $(BIN)/python -m pytest tests/interop

tests/interop/node_modules/.package-lock.json: tests/interop/package-lock.json
	@command -v npm > /dev/null || { echo "npm is missing; on Debian: apt install nodejs npm"; exit 1; }
	npm ci --prefix tests/interop --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports --no-cache

check: lint types contracts test

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Homes behind routers in network namespaces, with real NAT. Needs root, iproute2 and nftables; `make test` runs these
# tests only where they are there.
test-nat: setup
	NAT=required $(BIN)/python -m pytest -n 0 tests/p2p/test_behind_nat.py tests/p2p/test_port_mapping.py tests/end_to_end/test_homes_behind_nat.py

# Run it on an otherwise idle machine.
bench-transfers: setup
	$(BIN)/python -m bench.transfers

# The market's books, its auction and settlement, beside other people's. Peers come from PyPI, into environments of
# their own under a temporary directory.
bench-market: setup
	$(BIN)/python -m bench.market

# A week of a neighbourhood's market on the real ledger, four ways and in four seasons: some five minutes of computing.
neighbourhood: setup
	$(BIN)/python -m bench.neighbourhood

# The campaigns: each stores its result in bench/results, of which docs/reliability.md is made. They take from minutes to
# half an hour, best on an idle machine; all of them: make reliability.
reliability: setup
	set -e; for campaign in $(CAMPAIGNS); do $(MAKE) $$campaign; done
	$(MAKE) reliability-document

# A thousand neighbourhoods under faults and enemies in virtual time: about half an hour of computing.
chaos: setup
	$(BIN)/python -m bench.chaos

# The same with one rule left out at a time: is it noticed?
mutants: setup
	$(BIN)/python -m bench.mutants

# Two hundred real nodes killed under load: about twenty minutes.
kills: setup
	$(BIN)/python -m bench.kills

# Hostile peers against four real nodes, each alone and then all at once. Some minutes; best on an idle machine.
enemies: setup
	$(BIN)/python -m bench.enemies

# A million mutated and random inputs for everything that reads what others wrote.
fuzz: setup
	$(BIN)/python -m bench.fuzz

# The API, asked everything its own document allows and much that it does not (schemathesis).
fuzz-api: setup
	$(BIN)/python -m bench.fuzz_api

# Neighbourhoods of 4 to 200 homes on lines of 256 kbit/s and 300 ms, simulated: up to ten minutes.
slow-links: setup
	$(BIN)/python -m bench.slow_links

# How fast a node that lacks everything catches up over libp2p, and what bounds it.
catch-up: setup
	$(BIN)/python -m bench.catch_up

# docs/reliability.md from what the campaigns stored in bench/results.
reliability-document: setup
	$(BIN)/python -m bench.reliability

clean:
	rm -rf .venv tests/interop/node_modules .mypy_cache .ruff_cache .hypothesis
