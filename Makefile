# Two commands do everything on a machine with Python 3.11, make and git: `make figures` and `make test`.

PYTHON ?= python3.11
# Processes that share the tests.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PAPER := preprocess sBNN_training linear_models latent_visualisation
EXAMPLES := examples/your_own_cells examples/another_cohort examples/which_genes examples/honest_numbers
# The examples have their own cells: with DATASET=... they are not run.
NOTEBOOKS := $(PAPER) $(if $(filter-out scala_2020 simulated,$(DATASET)),,$(EXAMPLES))
EXECUTED := build/notebooks$(if $(DATASET),/$(DATASET))

# Where the measured files are: $SBNN_DATA, else a shared folder next to this repository, else data/.
ifeq ($(origin SBNN_DATA),undefined)
ifneq ($(wildcard ../shared/data),)
export SBNN_DATA := $(abspath ../shared/data)
endif
endif
# The authors' result pickles: $SBNN_REFERENCE, else a shared folder, else downloaded to data/reference.
ifeq ($(origin SBNN_REFERENCE),undefined)
ifneq ($(wildcard ../shared/reference),)
export SBNN_REFERENCE := $(abspath ../shared/reference)
endif
endif

export TF_CPP_MIN_LOG_LEVEL ?= 3
export TQDM_DISABLE ?= $(if $(CI),1,)
# Notebooks are executed without their progress bars, so that none is saved.
EXECUTE := TQDM_DISABLE=1 $(BIN)/jupyter nbconvert --to notebook --execute --log-level WARN \
           --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.timeout=-1

.DEFAULT_GOAL := help
.PHONY: help figures notebooks train honest table test test-quick test-avx2 lint format hints docs lock benchmark clean

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --requirement requirements.lock
	$(BIN)/python -m pip install -qq --no-deps --editable .
	touch $@

figures: $(READY)  ## run all notebooks and redraw the figures from the committed results
	mkdir -p $(EXECUTED)
	set -e; for name in $(NOTEBOOKS); do echo "== $$name.ipynb"; \
	    $(EXECUTE) --output-dir $(EXECUTED) $$name.ipynb; done
	$(BIN)/python scripts/say_what_ran.py $(EXECUTED)

# With DATASET=... the executed notebooks go to build/: the committed ones show scala_2020.
notebooks: $(READY)  ## execute the notebooks in place, computing what is not on disk
	mkdir -p $(EXECUTED)
	set -e; for name in $(NOTEBOOKS); do echo "== $$name.ipynb"; \
	    $(EXECUTE) $(if $(DATASET),--output-dir $(EXECUTED),--inplace) $$name.ipynb; done

train:  ## recompute every result and save the executed notebooks in place
	RETRAIN=True $(MAKE) notebooks
	$(MAKE) table

# What is finished stays in build/unfinished until all is done: run it again to go on. The controls read the genes that
# the comparison selects, and the notebook draws all: it is executed again at the end, from the results.
HONEST := build/unfinished/make_honest
honest: $(READY)  ## recompute the nested comparison and its benchmarks, and execute examples/honest_numbers.ipynb
	mkdir -p $(HONEST)
	test -e $(HONEST)/compared || RETRAIN=True $(EXECUTE) --inplace examples/honest_numbers.ipynb
	touch $(HONEST)/compared
	$(BIN)/python benchmarks/controls.py --store $(HONEST)/benchmarks
	$(BIN)/python benchmarks/coverage.py --store $(HONEST)/benchmarks
	$(BIN)/python benchmarks/wide_pool.py --store $(HONEST)/benchmarks
	$(BIN)/python benchmarks/learning_curve.py --store $(HONEST)/benchmarks
	$(BIN)/python benchmarks/within_type.py --n-jobs -1
	$(EXECUTE) --inplace examples/honest_numbers.ipynb
	$(MAKE) table
	rm -rf $(HONEST)

table: $(READY)  ## rewrite the table "paper / here" of the README, and figures/README.md, from the results
	$(BIN)/python scripts/write_readme_table.py
	$(BIN)/python scripts/write_figures_readme.py

test: $(READY)  ## run every test, all notebooks with small settings included
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

test-quick: $(READY)  ## run the tests except the notebooks
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "not notebook"

test-avx2: $(READY)  ## run every test with instruction sets beyond AVX2 switched off
	NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell \
	    XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

lint: hints  ## check style of code and notebooks, and type hints
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## repair style of code and notebooks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hints: $(READY)  ## check the type hints of public signatures
	$(BIN)/mypy

# Everything is read again: Sphinx does not repeat the warnings of pages that it has read before.
docs: $(READY)  ## build the reference from the docstrings: build/docs/index.html
	$(BIN)/python -m sphinx --fail-on-warning --fresh-env --quiet --doctree-dir build/doctrees docs build/docs

# Versions in the file are kept as long as pyproject.toml allows them; UPGRADE=1 takes the newest of all.
lock: $(READY)  ## write requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	    --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file requirements.lock \
	    --extra cpu --extra jax --extra notebooks --extra dev --extra docs pyproject.toml

benchmark: $(READY)  ## print tables of speed and memory, and draw benchmarks/speed.png
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/memory.py --folds 5
	$(BIN)/python benchmarks/memory.py --memory-map

clean:  ## remove the environment and everything that is built
	rm -rf $(VENV) build docs/reference *.egg-info .pytest_cache .ruff_cache .mypy_cache
