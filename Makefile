# Voicedrop. `make help` explains what there is; everything installs what it needs first, into .venv.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python that is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
SCANNERS := $(VENV)/scanners
RUN = PYTHONPATH='$(CURDIR)/layers/speech' $(BIN)/python -m
INSTALL = $(BIN)/python -m pip install --quiet --no-input --no-deps --require-hashes

# What is deployed, unless told otherwise: the defaults of the template.
default = $(shell sed -n '/^  $(1):/,/Default:/s/^ *Default: *//p' template.yaml)
RUNTIME ?= $(call default,Runtime)
ARCH ?= $(call default,Architecture)
REGION ?= $(or $(AWS_REGION),$(AWS_DEFAULT_REGION),us-east-1)
ENV ?= dev
# FFmpeg, which m4b needs: asked for by MEDIA=1, or by who deploys with MediaLayer=true.
MEDIA_LAYER = $(if $(or $(MEDIA),$(findstring MediaLayer=true,$(OVERRIDES) $(PARAMETERS))),true,false)
SAM_BUILD = RUNTIME=$(RUNTIME) ARCH=$(ARCH) MEDIA_LAYER=$(MEDIA_LAYER) PYTHON=$(BIN)/python $(BIN)/sam build --region $(REGION) \
	--parameter-overrides Runtime=$(RUNTIME) Architecture=$(ARCH) MediaLayer=$(MEDIA_LAYER)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# ---------------------------------------------------------------- hear it

WITH_MEDIA = $(if $(MEDIA),$(VENV)/media)

.PHONY: demo
demo: $(VENV)/local $(WITH_MEDIA) ## speak a text into out/: TEXT=path VENDOR=name VOICE=id FORMAT=wav MEDIA=1
	@$(RUN) local.demo

.PHONY: up
up: $(VENV)/local $(WITH_MEDIA) ## the whole stack on this machine, until Ctrl-C: POLICY=policy.json MEDIA=1
	@exec env $(RUN) local.up

# ---------------------------------------------------------------- trust it

.PHONY: test
test: $(VENV)/dev ## all tests: ARGS='-k callback' chooses
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)
# Twice the cores that CI has: many tests wait, for processes of theirs or for time to pass.
WORKERS ?= 4

.PHONY: simulate
simulate: $(VENV)/dev ## worlds where everything goes wrong: SEED=0 JOBS=500 ARGS=--trace
	@PYTHONHASHSEED=0 $(RUN) tests.simulation.run --seed $(SEED) --jobs $(JOBS) $(ARGS)
SEED ?= 0
JOBS ?= 500

.PHONY: live
live: $(VENV)/dev ## ask a real vendor, with your keys, after a warning: VENDOR=name VOICE=id YES=1
	@$(RUN) local.live

.PHONY: check
check: $(VENV)/dev $(VENV)/scan ## lint, types, imports, template, generated docs, build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(SCANNERS)/bin/bandit --quiet --recursive --severity-level medium layers functions local bench docs
	$(BIN)/mypy
	PYTHONPATH=layers/speech $(BIN)/lint-imports
	$(BIN)/sam validate --lint --region $(REGION)
	$(RUN) tests.template.check
	$(RUN) tests.template.scan $(SCANNERS)/bin/checkov
	$(RUN) tests.template.permissions --check
	$(RUN) docs.generate_vendor_matrix --check
	$(RUN) docs.generate_faults --check
	$(RUN) docs.generate_guarantees --check
	$(SAM_BUILD)
	@echo "make check: all well"

.PHONY: prove
prove: $(VENV)/dev ## every promise at full count, and write docs/guarantees.md: ONLY=name
	@$(RUN) tests.prove $(ONLY)

.PHONY: audit
audit: $(VENV)/scan ## ask the network for known holes in all that is locked
	$(SCANNERS)/bin/pip-audit --strict --disable-pip --require-hashes $(LOCKS:%=-r %)
LOCKS := layers/speech/requirements.txt layers/media/requirements.txt requirements/dev.txt requirements/local.txt requirements/scan.txt

.PHONY: bench
bench: $(VENV)/dev ## measure, and write docs/benchmarks.md
	@$(RUN) bench

# ---------------------------------------------------------------- deploy it

.PHONY: build
build: $(VENV)/dev ## sam build: RUNTIME=python3.13 ARCH=arm64 MEDIA=1
	$(SAM_BUILD)

.PHONY: deploy
deploy: build ## sam deploy: ENV=prod MEDIA=1 OVERRIDES='DefaultVendor=convai'
	$(BIN)/sam deploy --config-env $(ENV) --parameter-overrides Runtime=$(RUNTIME) Architecture=$(ARCH) MediaLayer=$(MEDIA_LAYER) $(PARAMETERS) $(OVERRIDES)
# What the command line says replaces what samconfig.toml says, so both are said.
PARAMETERS = $(shell $(BIN)/python -c "import tomllib; \
	print(*tomllib.load(open('samconfig.toml', 'rb'))['$(ENV)']['deploy']['parameters']['parameter_overrides'])")

.PHONY: key
key: $(VENV)/local ## make an API key in a deployed stack: STACK=name
	@test -n "$(STACK)" || { echo "Which stack? make key STACK=name" >&2; exit 2; }
	@$(RUN) local.make_key "$(STACK)"

.PHONY: configure
configure: $(VENV)/local ## put a policy in force in a deployed stack, or print it: STACK=name FILE=policy.json
	@test -n "$(STACK)" || { echo "Which stack? make configure STACK=name FILE=policy.json" >&2; exit 2; }
	@$(RUN) local.configure "$(STACK)" $(if $(FILE),"$(FILE)")

# ---------------------------------------------------------------- keep it

.PHONY: docs
docs: $(VENV)/dev ## write again what is generated from the code
	$(RUN) docs.generate_vendor_matrix
	$(RUN) docs.generate_faults
	$(RUN) tests.template.permissions
	$(RUN) docs.generate_guarantees

.PHONY: format
format: $(VENV)/dev ## lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: ## resolve requirements/*.in anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/dev.in -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements/dev.txt requirements/local.in -o requirements/local.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/scan.in -o requirements/scan.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements/dev.txt layers/speech/requirements.in -o layers/speech/requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements/dev.txt layers/media/requirements.in -o layers/media/requirements.txt

.PHONY: clean
clean: ## remove what was built; .venv stays
	rm -rf .aws-sam build out .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Voicedrop needs Python 3.11 or newer; none is on the PATH. make PYTHON=/path/to/python …" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Voicedrop needs Python 3.11 or newer, and $(PYTHON) is not." >&2; exit 2; }
	@echo "making .venv with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv '$(VENV)' || { rm -rf '$(VENV)'; echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }

# The files that these rules make are stamps: installed once, and again when a lock changes.
$(VENV)/local: requirements/local.txt | $(BIN)/python
	@test '$(VENV)/dev' -nt $< || { echo "installing what the laptop cloud needs"; $(INSTALL) --only-binary=:all: -r $<; }
	@touch $@

$(VENV)/media: layers/media/requirements.txt | $(VENV)/local
	@test '$(VENV)/dev' -nt $< || { echo "installing FFmpeg for m4b, 36 MB"; $(INSTALL) --only-binary=:all: -r $<; }
	@touch $@

$(VENV)/dev: requirements/dev.txt | $(BIN)/python
	@echo "installing what development needs"
	@awk '/^[a-z]/ {wanted = /^setuptools==/} wanted' $< > '$(VENV)/setuptools.txt'
	@$(INSTALL) --only-binary=:all: -r '$(VENV)/setuptools.txt' # what has no wheel is built by the locked setuptools, no other
	@$(INSTALL) --use-pep517 --no-build-isolation -r $<
	@touch $@

# The scanners stand apart: checkov pins what we use too, boto3 for one, and pins it low.
$(VENV)/scan: requirements/scan.txt | $(BIN)/python
	@echo "installing the scanners"
	@$(BIN)/python -m venv '$(SCANNERS)'
	@$(SCANNERS)/bin/python -m pip install --quiet --no-input --no-compile --no-deps --require-hashes --only-binary=:all: -r $<
	@touch $@
