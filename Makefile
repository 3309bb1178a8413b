# Every command here makes what it needs by itself; `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
DATA ?= ../shared/data/fashion
# One marker a set of packages: a target waits for the packages only when the lock changed.
DEV := $(VENV)/.dev-installed

export UV_LINK_MODE ?= hardlink

.DEFAULT_GOAL := help
TEST_PROCESSES ?= 4

.PHONY: help run test test-fast test-long check bench bench-webhooks chaos fuzz fix lock evaluate simulate dashboard docs images sbom clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet uv==$(UV_VERSION) 2>&1 | grep -v WARNING || true
	@test -x $(BIN)/uv || { echo "uv $(UV_VERSION) could not be installed from the package index"; exit 2; }

$(DEV): requirements.lock pyproject.toml | $(BIN)/uv
	@echo "installing the locked packages into $(VENV) (about 6 GB, mostly torch with its GPU libraries) …"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

run: $(DEV) ## start the whole service on http://localhost:8000 (Ctrl-C stops it)
	@exec $(BIN)/enrich up

# A file stays in one process, because its tests share servers.
# OpenMP's threads must not spin for each other on cores that other processes need.
PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: $(DEV) ## run the test suite; it starts the servers it needs
	@tests/prepare.sh
	@$(PYTEST)

test-fast: $(DEV) ## run the tests that need neither servers nor a browser, in under two minutes
	@$(BIN)/python -m tests.deploy.kubernetes.kubectl_binary
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not servers and not slow" \
		tests/unit tests/contract tests/deploy

test-long: chaos fuzz bench-webhooks ## run the long forms: chaos, fuzz and load

check: $(DEV) ## lint, types and import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tests/contract/file_sizes.py

fix: $(DEV) ## format, and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(DEV) ## measure the service against a bare loop and a plain Celery task
	@$(BIN)/python -m tests.bench

bench-webhooks: $(DEV) ## 100,000 deliveries to 50 endpoints of which 10 are dead, with a kill -9 half-way
	@$(BIN)/python -m tests.bench.webhooks

chaos: $(DEV) ## kill everything in turn under load; SEED=, JOBS= and KILLS= may be given
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(KILLS),--kills $(KILLS))

fuzz: $(DEV) ## hostile pictures, addresses and requests; SEED= and IMAGES= may be given
	@$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(IMAGES),--images $(IMAGES))

evaluate: $(DEV) ## print the shipped bundle's figures on DATA's test split
	@$(BIN)/python -m train.evaluate --data $(DATA) --split test

simulate: $(DEV) ## replay loads through the shipped scaling values: waits, GPU-hours, cost
	@$(BIN)/python -m deploy.capacity.simulate

dashboard: $(DEV) ## write Grafana's dashboard, and the alerts for Kubernetes, from deploy/monitoring
	@$(BIN)/python -m deploy.monitoring.dashboard

docs: $(DEV) ## build the documentation site in build/docs; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs build/docs
	@echo "build/docs/index.html"

lock: $(BIN)/uv ## resolve pyproject.toml again into requirements.lock and the images' own
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
	@UV=$(BIN)/uv UV_VERSION=$(UV_VERSION) deploy/images/lock.sh

images: ## build the container images and print their sizes; TARGETS="api cpu" leaves out the large one
	@deploy/images/build.sh $(TARGETS)

sbom: $(DEV) ## write build/sbom-IMAGE.json for each image that was built: its packages, as CycloneDX
	@PATH="$(CURDIR)/$(BIN):$$PATH" deploy/images/sbom.sh

clean: ## remove the virtual environment and all caches
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
