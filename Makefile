# The commands of the house; `make help` lists them. People and CI use the same ones.

# The first of these that is Python 3.11 or newer. PYTHON=... names another.
PYTHON ?= $(shell for name in python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
CONFIG ?= experiments/tiny/config.toml

# All that there is to install, and the little that serving needs: a newcomer's first answer does not wait for torch.
VENV := .venv
SERVICE_VENV := .venv-service
FRESH_VENV := .venv-fresh
# Serving and scoring use what is there already.
SERVING_VENV := $(if $(wildcard $(VENV)/.installed),$(VENV),$(SERVICE_VENV))

# As they were given: make would read $ in them as its own.
score: export SCORE_TEXT = $(value TEXT)
score: export SCORE_FILE = $(value FILE)

.DEFAULT_GOAL := help
.PHONY: help install lint test test-service-only train serve score constraints clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done

install: $(VENV)/.installed ## Install everything: the service, training and the tools

lint: $(VENV)/.installed ## Check style, types and import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

test: lint ## Lint, run every test, and ask a real server where only the service is installed
	$(VENV)/bin/python -m pytest
	@$(MAKE) --no-print-directory test-service-only

test-service-only: $(SERVICE_VENV)/.installed-tests ## The last part of test alone, without PostgreSQL and browser
	$(SERVICE_VENV)/bin/python -m pytest tests/core tests/service tests/service_only -k 'not postgresql and not chromium'

train: $(VENV)/.installed ## Run an experiment: CONFIG=experiments/NAME/config.toml, or the tiny one
	$(VENV)/bin/python -m training.train --config $(CONFIG)

serve: $(SERVING_VENV)/.installed ## Serve the API at 127.0.0.1:8000; CREDENCE_PORT=8080 takes another port
	@$(SERVING_VENV)/bin/credence serve

score: $(SERVING_VENV)/.installed ## Score TEXT="..." or FILE=article.txt
	@if [ -n "$$SCORE_FILE" ]; then $(SERVING_VENV)/bin/credence score "$$SCORE_FILE"; \
	elif [ -n "$$SCORE_TEXT" ]; then printf '%s' "$$SCORE_TEXT" | $(SERVING_VENV)/bin/credence score -; \
	else echo 'make score needs TEXT="..." or FILE=article.txt' >&2; exit 2; fi

constraints: ## Renew constraints.txt from a fresh environment; run the tests before you commit it
	rm -rf $(FRESH_VENV)
	$(call make_venv,$(FRESH_VENV))
	$(call install_everything,$(FRESH_VENV),)
	{ grep '^#' constraints.txt; $(FRESH_VENV)/bin/python -m pip freeze --exclude-editable | \
		sed 's/+[a-z0-9.]*$$//'; } >$(FRESH_VENV)/constraints.txt
	mv $(FRESH_VENV)/constraints.txt constraints.txt
	rm -rf $(FRESH_VENV)

clean: ## Remove environments and caches; runs/ stays
	rm -rf $(VENV) $(SERVICE_VENV) $(FRESH_VENV) credence.egg-info build
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo 'Installing the service, training and the tools into $(VENV): some minutes, once ...'
	$(call make_venv,$(VENV))
	$(call install_everything,$(VENV),-c constraints.txt)
	@touch $@

$(SERVICE_VENV)/.installed: pyproject.toml constraints.txt
	@echo 'Installing what serving needs into $(SERVICE_VENV): a minute, once ...'
	$(call make_venv,$(SERVICE_VENV))
	$(call pip_install,$(SERVICE_VENV)) -c constraints.txt -e '.[service]'
	@touch $@

$(SERVICE_VENV)/.installed-tests: $(SERVICE_VENV)/.installed
	$(call pip_install,$(SERVICE_VENV)) -c constraints.txt --group service-test
	@touch $@

# $(call pip_install,FOLDER): the beginning of an install that says nothing but errors.
pip_install = @PIP_DISABLE_PIP_VERSION_CHECK=1 $1/bin/python -m pip install --quiet --quiet

# $(call make_venv,FOLDER): an environment with a pip that knows dependency groups; what is in it already stays.
define make_venv
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'Credence needs Python 3.11 or newer, found "$(PYTHON)"; name one: make PYTHON=...' >&2; exit 1; }
	@"$(PYTHON)" -m venv $1
	$(call pip_install,$1) --upgrade pip
endef

# $(call install_everything,FOLDER,OPTIONS): torch first and alone, by its exact version, which lets pip take a CPU
# build where it knows of one; a range would bring in the newest build with gigabytes of CUDA libraries.
define install_everything
	$(call pip_install,$1) $2 "$$(sed -n 's/^ *"\(torch==[^"]*\)",$$/\1/p' pyproject.toml)"
	$(call pip_install,$1) $2 -e '.[service,training]' --group dev
endef
