# The commands of this project. Each target installs the packages that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := var/bench/venv
RESILIENCE := var/resilience/venv
CHECK := var/check/venv

.PHONY: run test check bench resilience fix schema messages screenshots clean

run: $(VENV)/runtime.stamp ## Run the site on this machine until Ctrl-C
	@exec $(BIN)/python manage.py run

test: $(VENV)/develop.stamp ## Run the whole test suite with coverage
	$(BIN)/python -m tests.browser
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: export DATA_DIR := $(CURDIR)/var/test
check: $(VENV)/develop.stamp $(CHECK)/check.stamp ## Check formatting, types, import rules, migrations, API schema and packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djade --check $(shell find templates -name '*.html')
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.words
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING
	PUBLIC_URL=https://telemetry.example $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py spectacular --validate --fail-on-warn | diff docs/openapi.yaml -
	$(CHECK)/bin/python -m tests.audit
	$(CHECK)/bin/cyclonedx-py requirements requirements.txt --output-reproducible --output-file var/sbom.json

bench: $(BENCH)/bench.stamp ## Run the benchmarks of the site and its peers; FULL=1: with 50 M readings; NAMES="singles copy": only these
	@$(BENCH)/bin/python -m benchmarks $(if $(FULL),--full) $(NAMES)

resilience: $(VENV)/develop.stamp $(RESILIENCE)/resilience.stamp ## Test the site under faults, overload and attacks; NAMES="database_outage crash": only these
	@$(BIN)/python -m resilience $(NAMES)

fix: $(VENV)/develop.stamp ## Format the code and apply automatic fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/djade $(shell find templates -name '*.html')

schema: $(VENV)/develop.stamp ## Write docs/openapi.yaml, docs/limits.md and docs/configuration.md
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml
	DJANGO_SETTINGS_MODULE=telemetry_site.settings $(BIN)/python -m telemetry_site.limits > docs/limits.md
	$(BIN)/python -m tests.configuration > docs/configuration.md

messages: $(VENV)/develop.stamp ## Update locale/*/LC_MESSAGES/django.po from the sources and compile them
	$(BIN)/python -m tests.messages

screenshots: $(VENV)/develop.stamp ## Take screenshots of all pages (var/screenshots) and those of the README
	$(BIN)/python -m tests.browser
	$(BIN)/python -m tests.screenshots

clean: ## Remove all installed packages and caches; keep the data in var/
	rm -rf $(VENV) .coverage* .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: PYTHON=python3.12 make …"; exit 1; }
	@echo "Creating the virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements.txt | $(VENV)/bin/python
	@echo "Installing packages …"
	@$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.txt
	@touch $@

$(VENV)/develop.stamp: requirements-dev.txt $(VENV)/runtime.stamp
	@$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

$(BENCH)/bin/python: | $(VENV)/bin/python
	@$(BIN)/python -m venv $(BENCH)

$(BENCH)/bench.stamp: requirements.txt requirements-bench.txt | $(BENCH)/bin/python
	@echo "Installing packages …"
	@$(BENCH)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements-bench.txt
	@touch $@

$(RESILIENCE)/bin/python: | $(VENV)/bin/python
	@$(BIN)/python -m venv $(RESILIENCE)

$(RESILIENCE)/resilience.stamp: requirements.txt requirements-resilience.txt | $(RESILIENCE)/bin/python
	@echo "Installing packages …"
	@$(RESILIENCE)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements-resilience.txt
	@touch $@

$(CHECK)/bin/python: | $(VENV)/bin/python
	@$(BIN)/python -m venv $(CHECK)

$(CHECK)/check.stamp: requirements-check.txt | $(CHECK)/bin/python
	@echo "Installing packages …"
	@$(CHECK)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements-check.txt
	@touch $@
