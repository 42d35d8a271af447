# `make help` lists the targets.

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
ROOT ?= data/hagrid
OUT ?= manifests/hagrid
DEMO ?= runs/demo
# A process a core, at most four; each has one thread, and whole files of tests, whose fixtures are made once.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo walk four miniature install test test-all lint check bench prepare lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## make .venv and install everything, the project editable

$(INSTALLED): requirements.lock pyproject.toml
	@python="$$(sh scripts/find-python.sh)" && \
	{ [ -x $(PYTHON) ] || "$$python" -m venv $(VENV); } && \
	{ [ -x $(VENV)/bin/uv ] || $(PYTHON) -m pip install --quiet --disable-pip-version-check uv; }
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --compile-bytecode --requirement requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation \
		--config-settings editable_mode=compat --editable .
	@touch $@

test: install ## run the fast tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q $(SIDE_BY_SIDE) -m "not slow and not gpu"

test-all: install ## run every test that this machine can run
	$(PYTHON) -m pytest -q

lint: install ## ruff, mypy strict, import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

check: lint test ## everything that a change must pass

bench: install ## measure; each script prints ours, the bare loop and the ratio; a million records only when told to
	@for script in bench/*.py; do echo "== $$script"; $(PYTHON) $$script || exit 1; done

demo: install ## draw people, prepare them, sample six poses with the miniature, measure: needs nothing downloaded
	H2D=$(VENV)/bin/h2d sh examples/demo.sh $(DEMO)

walk: install ## synth, prepare, train, sample and evaluate once, with miniature networks: needs nothing downloaded
	H2D=$(VENV)/bin/h2d sh examples/tiny_end_to_end.sh

four: install ## draw, prepare, mix and check the paper's four datasets: needs nothing downloaded
	H2D=$(VENV)/bin/h2d sh examples/four_datasets.sh

miniature: install ## train every part of the miniature from nothing and put it into the package; goes on where it stopped
	H2D=$(VENV)/bin/h2d PYTHON=$(PYTHON) sh scripts/miniature.sh

prepare: install ## set up and prepare a HaGRID folder: make prepare ROOT=path OUT=path
	$(VENV)/bin/h2d prepare hagrid --root $(ROOT) --out $(OUT)

lock: ## resolve requirements.lock anew
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.10 --extra annotate --extra dev \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean: ## delete the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
