# The developer's commands. Each makes the .venv it needs; nothing else is touched, but for `make testbed`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint golden format compat testbed testbed-down clean

help:
	@echo "make demo          train a small CNN on real digits on this machine, from nothing"
	@echo "make test          all tests that can run here"
	@echo "make lint          ruff, mypy, shellcheck"
	@echo "make testbed       start the test bed: a real SLURM and Apptainer (Debian 12, root)"
	@echo "make testbed-down  stop it"
	@echo "make golden        render the golden scripts again, to be read before they are committed"
	@echo "make format        let ruff format the code"
	@echo "make compat        the trainer's tests on TensorFlow versions between the images (hours; VERSIONS='2.16.1')"

# One stamp per set of extras; pyproject.toml is where they come from.
.venv/.demo: pyproject.toml
	@$(call install,tensorflow and digits,tensorflow digits)
.venv/.dev: pyproject.toml
	@$(call install,everything for tests,tensorflow digits report images tensorboard dev)
	@touch .venv/.demo

define install
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "hpcdl needs Python 3.10 or newer; try: make PYTHON=python3.12" >&2; exit 1; }; \
	test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	echo "installing hpcdl with $(1) into .venv (a minute or two)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(shell echo $(2) | tr ' ' ',')]" && touch $@
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
	@$(BIN)/shellcheck -x -P SCRIPTDIR tests/testbed/*.sh tests/testbed/etc/*.sh .ci/run

golden: .venv/.dev
	@$(BIN)/python -m pytest -q tests/test_script.py --golden

format: .venv/.dev
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

compat: .venv/.dev
	@$(BIN)/python tests/compat.py $(VERSIONS)

testbed:
	@tests/testbed/testbed.sh up
	@tests/testbed/testbed.sh images

testbed-down:
	@tests/testbed/testbed.sh down

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
