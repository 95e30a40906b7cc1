PYTHON ?= python3
MODELS ?= gpt2-xl bert-large vit-large resnet-152 llama-2-7b
OUT    ?= out/run
# Tests at once: each process loads torch, about 0.7 GB.
JOBS   ?= 2

BIN       := .venv/bin
# Neighbours stay in one process, which shares their captures; who is done takes work from who is not.
PYTEST     = $(BIN)/pytest -n $(JOBS) --dist worksteal
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint bench clean

help:  ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED)  ## Evaluate MODELS at 12.5 % fast memory into OUT: a table and report.html.
	$(BIN)/tmtrain evaluate $(MODELS) --machine v4-slc --fast 12.5% --objective energy --out $(OUT) --force

test: lint  ## Linters, types and tests: the same each time (no GPU, no network).
	$(PYTEST)

test-all: lint  ## The same with the exhaustive checks, and new random examples each time.
	$(PYTEST) -m "not gpu" --hypothesis-profile=thorough

lint: $(INSTALLED)  ## Style, types and import order.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo

# array_speed.py needs an environment of its own, see there.
bench: $(INSTALLED)  ## Run every benchmark; each says at its top what it measures.
	@for script in $(filter-out %/array_speed.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## Remove what the targets above have made, the environment included.
	rm -rf .venv out .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# torch first and by itself: what comes after it cannot pull another build of it.
# An environment without pip is what an interrupted or crippled `venv` leaves behind: begin again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
