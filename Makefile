# The developer's commands. Each makes the .venv it needs; nothing else is touched, but for `make testbed`.
PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# The versions that hpcdl was tested with; the newest ones where this Python has none, or with `make TESTED= ...`
TESTED := $(wildcard .ci/tested-$(VERSION).txt)
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check $(addprefix --constraint ,$(TESTED))

.PHONY: help demo test lint docs offline golden format compat update test-lowest test-newest test-gpu testbed testbed-down \
	testbed-second testbed-second-test testbed-sid clean

help:
	@echo "make demo          train a small CNN on real digits on this machine, from nothing"
	@echo "make test          all tests that can run here"
	@echo "make lint          ruff, mypy, shellcheck, figures of how the code reads"
	@echo "make docs          the documentation as a site, in build/site"
	@echo "make offline       the installers for sites without internet, in build/"
	@echo "make update        move the tested versions to the newest releases of the dependencies"
	@echo "make test-lowest   the host's tests with the lowest releases that pyproject.toml admits"
	@echo "make test-newest   the host's tests with the newest ones"
	@echo "make test-gpu      ten minutes on a machine with GPUs (see docs/first-gpu.md)"
	@echo "make testbed       start the test bed: a real SLURM and Apptainer (Debian 12, root)"
	@echo "make testbed-down  stop it"
	@echo "make testbed-second       start a second one beside it: Debian 13's SLURM and Python"
	@echo "make testbed-second-test  start it, run its tests, stop it"
	@echo "make testbed-sid          the same with Debian unstable's SLURM and Python"
	@echo "make golden        render the golden scripts again, to be read before they are committed"
	@echo "make format        let ruff format the code"
	@echo "make compat        the trainer's tests on other TensorFlows (hours; VERSIONS='2.19.1-keras-3.9.2')"

# One stamp per set of extras; pyproject.toml is where they come from.
.venv/.demo: pyproject.toml $(TESTED)
	@$(call install,tensorflow and digits,tensorflow digits)
.venv/.dev: pyproject.toml $(TESTED)
	@$(call install,everything for tests,tensorflow digits report images predict tensorboard dev docs)
	@touch .venv/.demo

define install
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "hpcdl needs Python 3.10 or newer; try: make PYTHON=python3.12" >&2; exit 1; }; \
	test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	echo "installing hpcdl with $(1) into .venv, $(if $(TESTED),versions of $(TESTED),newest versions) (a minute or two)"; \
	$(PIP) hatchling editables && \
	$(PIP) --no-build-isolation --editable ".[$(shell echo $(2) | tr ' ' ',')]" && touch $@
endef

demo: .venv/.demo
	@$(BIN)/hpcdl data stage digits --cluster local >/dev/null
	@run=$$($(BIN)/hpcdl submit jobs/digits_cnn.yaml --backend local --wait) && $(BIN)/hpcdl result "$$run"

test: .venv/.dev
	@$(BIN)/python -m pytest $(TESTS)

lint: .venv/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/shellcheck -x -P SCRIPTDIR tests/testbed/*.sh tests/testbed/etc/*.sh .ci/run .ci/offline/installer.sh
	@$(BIN)/python .ci/figures.py

# The variable silences the theme's notice of its end in 2027 (see mkdocs.yml). No --quiet: it would also stop --strict.
docs: .venv/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

offline: .venv/.dev
	@$(BIN)/python .ci/offline/build.py

golden: .venv/.dev
	@$(BIN)/python -m pytest -q tests/test_script.py tests/test_golden_sites.py --golden

format: .venv/.dev
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

compat: .venv/.dev
	@$(BIN)/python tests/compat.py $(VERSIONS)

update:
	@$(PYTHON) .ci/releases.py update

test-lowest test-newest:
	@$(PYTHON) .ci/releases.py $(@:test-%=%)

test-gpu: .venv/.dev
	@$(BIN)/python -m pytest -v -rA -m gpu tests/gpu

testbed:
	@tests/testbed/testbed.sh up
	@tests/testbed/testbed.sh images

testbed-down:
	@tests/testbed/testbed.sh down

testbed-second:
	@tests/testbed/second.sh trixie up

testbed-second-test: SUITE = trixie
testbed-sid: SUITE = sid
testbed-second-test testbed-sid:
	@tests/testbed/second.sh $(SUITE) up
	@tests/testbed/second.sh $(SUITE) test
	@tests/testbed/second.sh $(SUITE) down

clean:
	rm -rf build/offline .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
