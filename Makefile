# The verbs of this project. Each sets up what it needs; nothing is installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := var/bench/venv
FIRE := var/fire/venv
CHECK := var/check/venv

.PHONY: run test check bench resilience fix schema messages shots clean

run: $(VENV)/runtime.stamp ## Everything on this machine, until Ctrl-C
	@exec $(BIN)/python manage.py run

test: $(VENV)/develop.stamp ## The whole suite, with coverage
	$(BIN)/python -m tests.browser
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: export DATA_DIR := $(CURDIR)/var/test
check: $(VENV)/develop.stamp $(CHECK)/check.stamp ## Everything that can be checked without running the site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djade --check $(shell find templates -name '*.html')
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING
	PUBLIC_URL=https://telemetry.example $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py spectacular --validate --fail-on-warn | diff docs/openapi.yaml -
	$(CHECK)/bin/python -m tests.audit
	$(CHECK)/bin/cyclonedx-py requirements requirements.txt --output-reproducible --output-file var/sbom.json

bench: $(BENCH)/bench.stamp ## Measure it beside its peers; FULL=1 with 50 M readings, NAMES="singles copy" only some
	@$(BENCH)/bin/python -m benchmarks $(if $(FULL),--full) $(NAMES)

resilience: $(VENV)/develop.stamp $(FIRE)/fire.stamp ## Keep its promises while things go wrong; NAMES="away crash" only some
	@$(BIN)/python -m tests.fire $(NAMES)

fix: $(VENV)/develop.stamp ## Format, and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/djade $(shell find templates -name '*.html')

schema: $(VENV)/develop.stamp ## Write docs/openapi.yaml and docs/limits.md from the code
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml
	DJANGO_SETTINGS_MODULE=telemetry_site.settings $(BIN)/python -m telemetry_site.limits > docs/limits.md

messages: $(VENV)/develop.stamp ## Bring locale/*/LC_MESSAGES/django.po up to date with the sources, and compile them
	$(BIN)/python -m tests.messages

shots: $(VENV)/develop.stamp ## Pictures of every page below var/shots, and those of the README
	$(BIN)/python -m tests.browser
	$(BIN)/python -m tests.shots

clean: ## Remove what was set up; the data in var/ stays
	rm -rf $(VENV) .coverage* .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: PYTHON=python3.12 make …"; exit 1; }
	@echo "Making the virtual environment in $(VENV) …"
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

$(FIRE)/bin/python: | $(VENV)/bin/python
	@$(BIN)/python -m venv $(FIRE)

$(FIRE)/fire.stamp: requirements.txt requirements-fire.txt | $(FIRE)/bin/python
	@echo "Installing packages …"
	@$(FIRE)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements-fire.txt
	@touch $@

$(CHECK)/bin/python: | $(VENV)/bin/python
	@$(BIN)/python -m venv $(CHECK)

$(CHECK)/check.stamp: requirements-check.txt | $(CHECK)/bin/python
	@echo "Installing packages …"
	@$(CHECK)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements-check.txt
	@touch $@
