# `make demo` and `make test` set everything up and run; `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# The same lock by either; uv, where it is there, takes a fifth of the time. pip would compile with one core;
# what compileall complains about are files of other Pythons, which nobody imports.
UV := $(shell command -v uv)
ADD := $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet --disable-pip-version-check --no-compile)

SEQUENCES ?= 300
# One process per core; tests of a file share its fixtures and stay together, in the order of tests/conftest.py. A
# process that ended is started anew once, not at every try of the test that ended it.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 1
# Byte code is kept, whatever the machine prefers: each job would compile jetloom anew.
export PYTHONDONTWRITEBYTECODE :=
# Read once: the seed that is printed is the one that is used.
SEED := $(or $(SEED),$(shell date +%s))

.PHONY: help install demo test quick torch survive lint mlflow docs site lock clean

help:
	@echo "make demo      simulate, train, compare; the report is results/demo/report/index.html"
	@echo "make test      run the whole test suite"
	@echo "make quick     run the tests that take milliseconds"
	@echo "make torch     test networks, kernels and training with TORCH=2.11.0 or another version of torch"
	@echo "make survive   run hundreds of random sequences of edits, calls and kills (SEQUENCES, SEED)"
	@echo "make lint      check style, types and imports of code and workflow"
	@echo "make mlflow    open the MLflow UI on the runs in results/"
	@echo "make docs      make pages, schemas and pictures, and the site in site/"
	@echo "make site      the site alone; a dead link is an error"
	@echo "make lock      pin what is installed in .venv"
	@echo "make clean     remove results, data and logs (not .venv)"

install: $(INSTALLED)

$(INSTALLED): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jetloom needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "Setting up .venv (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(ADD) --only-binary pythia8mc --only-binary fastjet -r envs/requirements.lock
	@$(ADD) --no-deps --no-build-isolation --editable .
	@$(if $(UV),,$(BIN)/python -m compileall -qq -j 0 .venv/lib || :)
	@touch $@

demo: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile profiles/local
	@echo "Report: results/demo/report/index.html    MLflow: make mlflow"

test: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest $(PARALLEL)

quick: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest $(PARALLEL) -m "not slow and not seconds"

torch: OTHER := .venv/torch-$(TORCH)
torch: install
	@test -n "$(TORCH)" || { echo "make torch needs a version: make torch TORCH=2.11.0"; exit 2; }
	@$(MAKE) --no-print-directory $(OTHER)
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=$(CURDIR)/$(OTHER) pytest $(PARALLEL) -m "not slow" tests/models tests/training

.venv/torch-%: | $(INSTALLED)
	@rm -rf $@.partial
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-cache-dir --target $@.partial torch==$*
	@mv $@.partial $@

survive: install
	@echo "$(SEQUENCES) sequences; to repeat them: make survive SEQUENCES=$(SEQUENCES) SEED=$(SEED)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" JETLOOM_SURVIVE=$(SEQUENCES) pytest -n 2 --dist loadfile --no-loadscope-reorder --hypothesis-seed=$(SEED) tests/identity

lint: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh -c 'ruff check . && ruff format --check . && snakefmt --check Snakefile workflow && lint-imports && mypy && snakemake --lint'

mlflow: install
	@$(BIN)/jetloom mlflow ui

docs: install
	@$(BIN)/python docs/make_configuration.py
	@$(BIN)/python docs/make_schemas.py
	@$(BIN)/python benchmarks/plot.py
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh -c 'snakemake --rulegraph --configfile config.yaml 2>/dev/null | dot -Tsvg > docs/workflow.svg'
	@$(MAKE) --no-print-directory site

site: install
	@$(BIN)/python docs/make_api.py
	@$(BIN)/zensical build --strict --clean

lock: install
	@$(BIN)/python envs/make_lock.py

clean:
	rm -rf results data scratch logs .snakemake site docs/api
