# Two commands do everything: `make demo` shows the bot, `make test` proves it.
.PHONY: demo test test-root test-expected mutants setup lock clean
.DEFAULT_GOAL := demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most of what tests do is wait: five at a time keep two cores busy.
BESIDE := -n 5 --dist load --maxschedchunk 1

demo: $(VENV)/installed
	@$(BIN)/botctl demo

test: $(VENV)/installed $(VENV)/evm/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q --durations=15 $(BESIDE) tests
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# What an ordinary user cannot run: small mounts, other processes' secrets. `make test` counts it as skipped.
test-root: $(VENV)/installed
	$(BIN)/python -m pytest -q -m root

# Drills that fail until something is mended: each must still fail, or its mark must go. Five minutes.
test-expected: $(VENV)/installed
	$(BIN)/python -m pytest -q -m expected

# Which tests notice a line that is broken? Hours; `make mutants ONLY=risk` takes one part.
mutants: $(VENV)/installed
	$(BIN)/python -m tests.mutation $(if $(ONLY),--only $(ONLY))

setup: $(VENV)/installed

# Missing system packages are named with the command that installs them.
$(VENV)/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: run  sudo apt-get install -y python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: run  sudo apt-get install -y python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "the venv module is missing: run  sudo apt-get install -y python3-venv"; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing locked packages into $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

# A real EVM node and a compiler of contracts, for tests/evm. Without npm the tests that need them are skipped.
$(VENV)/evm/installed: tests/evm/package-lock.json $(VENV)/installed
	@mkdir -p $(@D) && cp tests/evm/package.json tests/evm/package-lock.json $(@D)
	@if ! command -v npm >/dev/null; then echo "npm is missing: tests against a real EVM node are skipped"; \
	elif cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --silent; then echo "installed a test's EVM node"; \
	else echo "npm could not install an EVM node: tests against it are skipped"; fi
	@touch $@

# Rewrite the lock file after changing pyproject.toml.
lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url \
	  --no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
