# make start             install everything, pull the model, serve, open the page
# make start MODEL=name  the same with another model (`colosse models list`)
# make test              set up what the tests need and run all of them
# make test ARGS=tests/x run these, one after the other
# make check             lint, format, types, import rules

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# What measures: after the other tests, which run one a core.
ALONE := $(addprefix tests/,assistant/code/test_measure.py assistant/code/test_optimize.py cli/test_code_optimize.py train/test_memory.py)

.PHONY: start test check web constraints clean
.DEFAULT_GOAL := start

start: $(VENV)/.start web
	@$(BIN)/colosse serve $(if $(MODEL),--model "$(MODEL)")

test: $(VENV)/.test web check
	@cd web && PATH="$(CURDIR)/.cache/node/bin:$$PATH" npm run --silent test
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ALONE:%=--ignore=%) \
		|| { echo "what failed beside other tests is run once more, alone"; $(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }
	@$(BIN)/python -m pytest $(ALONE)
endif

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

web: | $(BIN)/python
	@$(BIN)/python web/build.py

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Colosse needs Python 3.11 or newer, and none was found on the PATH"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make $(VENV): on Debian and Ubuntu, apt install python3-venv"; exit 2; }

$(VENV)/.start: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Colosse into $(VENV) ..."
	@$(PIP) --editable '.[llama,fast,plan,skills]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Colosse and what its tests need into $(VENV) ..."
	@$(PIP) --editable '.[llama,fast,plan,skills,postgres,train,hub,datatrove,float8,test]'
	@touch $@ $(VENV)/.start

# Every version that the tests passed with, after trying new ones.
constraints: $(VENV)/.test
	@$(BIN)/python -m pip freeze --exclude-editable | sed -e '/ @ /d' -e 's/+cpu//' > constraints.txt

clean:
	rm -rf $(VENV) .cache src/colosse/server/static web/node_modules
