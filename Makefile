# Every target sets up what it needs in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# What `make chaos` runs with; ATTEMPTS=1 is the default of the services.
MAILS    ?= 5000
SEED     ?= 1
ATTEMPTS ?= 4
POLICY   ?=
SENDER   ?= push
BACKEND ?= embedded

# How long `make fuzz` takes, all classes of input together.
FUZZ_SECONDS ?= 600

# How many tests run at a time. They wait more than they compute, so more than there are cores.
WORKERS ?= 6
PYTEST   = $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
COVERAGE = --cov --cov-report=term-missing:skip-covered

# What decides whether a mail is lost or sent twice: no branch of it may go untested.
DECISIONS = shared/delivery/machine.py,shared/delivery/pause.py,shared/delivery/model.py,shared/delivery/policy.py,shared/delivery/store.py,sender/worker/result.py

# Tests start hundreds of processes: without the cache of bytecode, each would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo up test unit coverage decisions-covered mutants explore fuzz chaos bench screenshots handlebars-reference node-clients lint format types terraform terraform-docs terraform-lock check lock clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Set up .venv from the lock file, and nothing else

$(STAMP): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "Firepost needs Python 3.11, 3.12 or 3.13; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The lock file has everything. pip, asked for dependencies, would look for newer ones, and refuse the lock's.
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

demo: venv ## Run the whole system here and watch mails go through (BACKEND=google: on Google's emulators)
	@$(BIN)/python -m local demo --backend $(BACKEND)

up: venv ## Start the whole system here and keep it running
	@$(BIN)/python -m local up --backend $(BACKEND)

test: venv ## Run all tests, against real local stacks, WORKERS at a time
	@$(PYTEST) $(TEST_OPTIONS)

unit: venv ## Run the quick tests, which need no stack; properties with fewer examples than in `make test`
	@$(PYTEST) --hypothesis-profile=quick -m "not slow" tests/unit

coverage: venv ## Run the tests that need no stack, and fail below the floors of branch coverage
	@$(PYTEST) $(COVERAGE) -m "not slow" tests/unit
	@$(MAKE) --no-print-directory decisions-covered

decisions-covered: ## Fail unless the last run with coverage has reached each branch of what decides about mails
	@$(BIN)/coverage report --include=$(DECISIONS) --fail-under=100

mutants: venv ## Change what decides about mails in a thousand ways; each change must fail a test (minutes)
	@$(BIN)/python -m tests.mutants

explore: venv ## Explore the protocol exhaustively, within wider bounds, and with 100,000 mails (minutes)
	@EXPLORE=1 $(BIN)/python -m pytest tests/exploration tests/unit/dispatcher/test_reconciler_at_scale.py -v --durations=10

fuzz: venv ## Try random hostile inputs of every class for FUZZ_SECONDS; FUZZ_SEED repeats a run (10 minutes)
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

chaos: venv ## Send MAILS mails while everything that can fail does, as SEED decides; POLICY, ATTEMPTS, SENDER are the services'
	@$(BIN)/python -m chaos --mails $(MAILS) --seed $(SEED) --attempts $(ATTEMPTS) --sender $(SENDER) $(if $(POLICY),--policy $(POLICY))

bench: venv ## Measure what a mail costs and how long it takes, on Google's emulators where installed (15 minutes)
	@$(BIN)/python -m bench

screenshots: venv ## Take the pictures of docs/local.md again (needs Chromium)
	@$(BIN)/python -m tests.browser.screenshots

lint: venv ## Check style, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

handlebars-reference: venv ## Compare our Handlebars with handlebars.js on 10,000 random templates (needs Node)
	@$(BIN)/python -m pytest tests/handlebars_reference/check_handlebars_js.py

node-clients: venv ## Run Google's clients for Node on both backends, and a page in Chromium (needs Node and npm)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup tests/node_clients/check_node_clients.py tests/node_clients/check_web_page.py

format: venv ## Let ruff put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

terraform: ## Check the Terraform module and its examples, without deploying anything (needs terraform 1.9)
	@infra/terraform/check

terraform-docs: venv ## Write the module's variables, outputs and the tables of the READMEs again
	@$(BIN)/python -m tests.unit.infra.readmes
	@terraform fmt -recursive infra/terraform

terraform-lock: ## Write the examples' lock files of providers, for all usual platforms (needs terraform and its registry)
	@for example in infra/terraform/examples/*/; do \
	  terraform -chdir=$$example providers lock -platform=linux_amd64 -platform=linux_arm64 \
	    -platform=darwin_amd64 -platform=darwin_arm64 -platform=windows_amd64 || exit; done

check: ## What CI runs
	@.ci/run

lock: venv ## Renew the lock files from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file requirements/services.txt
	@$(BIN)/uv pip compile pyproject.toml --extra html --extra otel --universal --python-version 3.11 --generate-hashes \
	  --quiet --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --constraint requirements/services.txt --output-file requirements/services-extras.txt
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --quiet \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --constraint requirements/services-extras.txt \
	  --output-file requirements/dev.txt

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
