# The targets set up .venv by themselves: the commands need the runtime packages, tests and checks the `dev` extra too.
# A stamp is written only after a complete install, so an interrupted one is taken up again by the next make.

PYTHON ?= python3
RECIPE ?= digits_resnet
ARGS ?=

BIN := .venv/bin
SETUP := @$(MAKE) --no-print-directory
PYTEST := $(BIN)/python -m pytest
WORKERS := -n auto --maxprocesses 4

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help finetune evaluate recipes test test-all check format audit bench clean clean-venv known-recipe

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-11s %s\n", $$1, $$2}'

finetune: known-recipe ## train RECIPE=digits_resnet or RECIPE=my_images, a folder; ARGS="--epochs 3" changes it
	$(SETUP) .venv/.installed
	$(BIN)/visiontasks finetune "$(RECIPE)" $(ARGS)

evaluate: ## measure a finished run again: RUN=runs/<recipe>/<start time>
	@[ -n "$(RUN)" ] || { echo "make evaluate needs RUN=runs/<recipe>/<start time>, the folder of a finished run" >&2; exit 2; }
	$(SETUP) .venv/.installed
	$(BIN)/visiontasks evaluate $(RUN) $(ARGS)

recipes: .venv/.installed ## list the recipes with what they measured
	$(BIN)/visiontasks recipes

test: .venv/.installed-dev ## the tests that need no network, no data and no accelerator; ARGS go to pytest
	$(PYTEST) $(WORKERS) $(ARGS)

test-all: .venv/.installed-dev ## every test; the realdata ones need VISIONTASKS_DATA=<folder of archives>
	$(PYTEST) -m "" $(ARGS)

check: .venv/.installed-dev ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.installed-dev ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: .venv/.installed ## known vulnerabilities of the installed packages; needs network
	[ -x .venv-audit/bin/pip-audit ] || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install --quiet pip-audit; }
	$(BIN)/python -m pip freeze --exclude-editable >.venv-audit/packages.txt
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement .venv-audit/packages.txt

bench: .venv/.installed-bench ## the same work beside plain Lightning, fastai and a raw loop; ARGS="--help" says more
	$(BIN)/python bench/run.py $(ARGS)

clean: ## remove caches and builds; runs/ and .venv stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find visiontasks tests $(wildcard bench) -name __pycache__ -type d -prune -exec rm -rf {} +

clean-venv: ## remove .venv
	rm -rf .venv .venv-audit

# A wrong name must not cost an install, so the shell looks before the command does.
known-recipe:
	@[ -f "recipes/$(RECIPE).yaml" ] || [ -d "$(RECIPE)" ] || \
	    { case "$(RECIPE)" in *.yaml | *.yml) [ -f "$(RECIPE)" ] ;; *) false ;; esac } || { \
	    echo "RECIPE=$(RECIPE): expected a folder of images, a .yaml file or a recipe:" \
	        $$(ls recipes | sed -n 's/\.yaml$$//p') >&2; exit 2; }

define install
@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
    $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
        echo "visiontasks needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 | tail -n 1)." \
            "Name another one: make PYTHON=python3.12 ..." >&2; exit 2; }; \
    $(PYTHON) -m venv --clear .venv; }
@echo "Installing into .venv; the first time this takes about 2 minutes and 6 GB of disk."
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '$(1)'
endef

.venv/.installed: pyproject.toml
	$(call install,.)
	@touch $@

.venv/.installed-dev: pyproject.toml
	$(call install,.[dev])
	@touch .venv/.installed $@

.venv/.installed-bench: pyproject.toml
	$(call install,.[bench])
	@touch .venv/.installed $@
