# Everything a newcomer needs; the details are in scripts/. Needs Python 3.11 or later and make.
#     make demo INBOX=folder    the agent reads another folder of .eml files
#     make demo ARGS=--yes      asks nobody
#     make test ARGS=tests/db   arguments of pytest; --hypothesis-profile=explore tries other examples than every run

.DEFAULT_GOAL := help
# Hundreds of processes start here: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo test check bench chaos migrate clean setup

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## watch the whole job: propose, decide, countersign, execute once, prove it
	@exec .venv/bin/python -m sandbox.demo $(ARGS)

test: setup ## run the tests (installs Chromium where it may)
	@scripts/browser
	@exec .venv/bin/python -m pytest -n 4 --dist loadfile $(ARGS)

check: setup ## lint, check the formatting, check the types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: setup ## measure what a decision costs, and every page in a large tenant
	.venv/bin/python -m tests.bench.decide
	.venv/bin/python -m tests.bench.pages $(ARGS)

chaos: setup ## the fault campaign: 2,000 actions while everything goes wrong (ARGS="--actions 500 --seed 7")
	@exec .venv/bin/python -m tests.chaos $(ARGS)

migrate: setup ## migrate MIGRATIONS_DATABASE_URL and publish the tool contracts
	.venv/bin/python -m scripts.migrate
	.venv/bin/python -m scripts.publish_tools

clean: ## stop the demo, remove its state, .venv and all caches
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m sandbox.demo --remove && .venv/bin/python -m sandbox.postgres destroy; fi
	rm -rf .venv .state build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@scripts/setup
