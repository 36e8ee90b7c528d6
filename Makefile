# `make help` lists what there is. Python 3.11 to 3.13, its venv module and make are all that must be there.
PYTHON ?= python3
STATE := $(if $(SIGHTLINE_STATE),$(SIGHTLINE_STATE),$(CURDIR)/.sightline)
BIN := $(STATE)/venv/bin
.DEFAULT_GOAL := help
.PHONY: help run up down status reset test lint format docs bench faults lock env env-dev

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: env ## Bring everything up in the foreground, with a living borough; Ctrl-C stops it
	@exec $(BIN)/sightline run

up: env ## Bring everything up in the background and return when it is healthy
	@$(BIN)/sightline up

down: env ## Stop what runs
	@$(BIN)/sightline down

status: env ## What runs, and how it is
	@$(BIN)/sightline status

reset: env ## Forget the data (the environment and the downloads stay)
	@$(BIN)/sightline reset --yes

test: env-dev ## Every test, on a real broker and database
	@$(BIN)/python -m tests $(ARGS)

lint: env-dev ## ruff, mypy --strict, import arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: env-dev ## Lay the code out
	@$(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format .

docs: env-dev ## Write the documents that are made from the contract
	@$(BIN)/python -m infra.docs

bench: env-dev ## Speeds, as ratios to what the parts can do
	@PYTEST_DEBUG_TEMPROOT=$${TMPDIR:-/tmp} $(BIN)/python -m pytest tests/bench -s --override-ini=python_files=bench_*.py $(ARGS)

faults: env-dev ## The fault table, with repeats (ROWS=1,5,13 SEED=… TIMES=…), into docs/faults.md
	@$(BIN)/python -m tests.fault $(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED)) $(if $(TIMES),--times $(TIMES)) $(ARGS)

lock: ## Write infra/requirements/*.txt anew from *.in (needs uv)
	@cd infra/requirements && for kind in run dev; do uv pip compile --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -q $$kind.in -o $$kind.txt || exit 1; done

env:
	@$(PYTHON) infra/environment.py run

env-dev:
	@$(PYTHON) infra/environment.py dev
