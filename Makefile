# serve · test · lint · bench: the same words locally and in CI.
.PHONY: install install-dev serve test test-fast lint audit fuzz bench bench-pages profiles lock clean

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

# A stamp file per set of packages: a second `make serve` starts at once.
install: $(VENV)/.runtime
install-dev: $(VENV)/.dev

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit("longshore needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/pip
	@echo "installing longshore into $(VENV), once"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "installing what the tests need into $(VENV), once"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

serve: install
	@$(BIN)/longshore serve

# Everything: unit and contract tests, and real clients, which are installed first.
test: install-dev
	tests/tools/install
	$(BIN)/pytest -n auto --dist loadfile

# What needs no other program: a few minutes less.
test-fast: install-dev
	$(BIN)/pytest -n auto --dist loadfile -m "not e2e"

lint: install-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m tests.audit --where-possible

# Known vulnerabilities in the locked packages. Fails also where no service can be asked, of which `lint` only tells.
audit: install-dev
	$(BIN)/python -m tests.audit

# The parsers that strangers reach, led by what their code does with what is sent: so many inputs each.
RUNS ?= 200000

fuzz: install-dev
	$(BIN)/python -m tests.fuzz --runs $(RUNS)

# Beside other registries, over a million tags, and alone: half an hour, 15 GB of disk. The first time peers are
# built and a catalog is made: some minutes more. What is complete is kept in benchmarks/results and shown in the
# documents. `make bench ROUNDS=1 ONLY=busy,tls` measures what has one of the words in "suite: workload".
ROUNDS := 3
ONLY :=
CATALOG := .cache/catalog

$(CATALOG): | install-dev
	$(BIN)/python -m benchmarks.load_catalog --data $@

bench: install-dev
	tests/tools/install
	benchmarks/tools/install
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) --only "$(ONLY)"
	$(BIN)/python -m benchmarks.report

# Search, lists and pages over 100,000 repositories; ends with 1 where one is over its bound.
bench-pages: install-dev $(CATALOG)
	$(BIN)/python -m benchmarks.pages --data $(CATALOG)

# Where the time goes on each hot path, into benchmarks/profiles.
profiles: install-dev
	tests/tools/install
	benchmarks/tools/install
	$(BIN)/python -m benchmarks.hot_paths

lock: | $(VENV)/bin/pip
	$(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --extra build --universal --generate-hashes --no-header --quiet --upgrade -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra build --extra dev --universal --generate-hashes --no-header --quiet --upgrade -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache
