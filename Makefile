# From a bare machine (Python 3.11 to 3.13 with venv and headers, make, a C++ compiler) to a tested
# workspace and a demo: scripts/check_machine says what is missing.
# On a ROS installation use `colcon build` instead; nothing here is needed there.

VENV   ?= .venv
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	scripts/check_machine $$python 2>/dev/null && echo $$python && exit; done; echo python3)
VIDEO  ?=
DURATION ?= 1800
override VENV := $(abspath $(VENV))
export VENV

RUN := scripts/in_workspace
requirements := $(filter-out requirements/oldest.txt requirements/mutation.txt,$(wildcard requirements/*.txt))
package := CMakeLists.txt package.xml $(wildcard cmake/* msg/* scripts/* launch/* config/* config/*/*)

# Two processes, each with whole files; most of a node's tests is waiting.
pytest := pytest --numprocesses 2 --dist loadfile

# In a process of their own: after the tests of the graph runtimes, training once ended in a
# segmentation fault whose cause is not known.
training_tests := test/training test/model/test_twin.py

# With the oldest versions: the nodes, their inputs and outputs, label sets, the segmenter, commands,
# a training.
OLDEST := $(abspath .venv-oldest)
oldest_tests := test/images test/projection test/test_workspace.py \
	$(filter-out test/datasets/test_picking.py, $(wildcard test/datasets/test_*.py)) \
	test/model/test_camseg.py \
	test/inference/test_segmenter.py $(addprefix test/nodes/test_,$(addsuffix .py, cameras \
	image_bridge label_info no_image outputs projector segmenter_node)) \
	test/training/test_train_command.py::test_two_commands_make_a_model

MUTATION := $(abspath .mutation)
TARGETS ?=

.DEFAULT_GOAL := help
.PHONY: help venv build test test-oldest test-faults test-gpu mutation soak demo docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## Virtual environment with the pinned requirements

$(VENV)/.installed: $(requirements)
	@scripts/check_machine "$(PYTHON)"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing the pinned requirements: a few minutes the first time'
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -r requirements/all.txt
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements/no_deps.txt
	touch $@

build: install/.built ## Messages and package (colcon build)

install/.built: $(VENV)/.installed $(package)
	$(RUN) colcon --log-level error build --cmake-args \
		-DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(VENV)/bin/python
	touch $@

test: install/.built ## Formatting, lint, types and tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) lint-imports --no-logo
	$(RUN) mypy
	$(RUN) $(pytest) $(addprefix --ignore=,$(training_tests))
	$(RUN) $(pytest) $(training_tests)

test-oldest: $(OLDEST)/workspace/.built ## A part of the tests with the oldest versions (Python 3.11)
	VENV=$(OLDEST) WORKSPACE=$(<D) $(RUN) pytest $(oldest_tests)

$(OLDEST)/.installed: requirements/oldest.txt
	@scripts/check_machine python3.11
	test -x $(OLDEST)/bin/python || python3.11 -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -qq --disable-pip-version-check -r $<
	touch $@

$(OLDEST)/workspace/.built: $(OLDEST)/.installed $(package)
	VENV=$(OLDEST) WORKSPACE=$(@D) $(RUN) colcon --log-base $(@D)/log --log-level error build \
		--build-base $(@D)/build --install-base $(@D)/install --cmake-args \
		-DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(OLDEST)/bin/python
	touch $@

test-faults: install/.built ## The fault tests in their long form, without allowance for a busy machine
	CAMSS_ROS_FAULTS=long $(RUN) pytest $(wildcard test/nodes/test_fault_*.py)

mutation: install/.built $(MUTATION)/.installed ## Whether tests notice small changes of the code, numbers in docs/architecture.md
	OMP_NUM_THREADS=1 $(RUN) python test/mutation.py $(TARGETS)

# Beside the environment, whose versions it must not change.
$(MUTATION)/.installed: requirements/mutation.txt $(VENV)/.installed
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --upgrade --target $(MUTATION) -r $<
	touch $@

test-gpu: install/.built ## What only a CUDA GPU can show; on another machine each test is skipped, saying so
	$(RUN) pytest test/gpu -m gpu -rs

soak: install/.built ## The node at work for DURATION seconds (1800), numbers in docs/results/soak.md
	$(RUN) python test/soak.py --duration $(DURATION)

demo: install/.built ## Segment the synthetic street, or VIDEO=path (video file or image folder), over DDS
	$(RUN) camss-ros demo $(if $(VIDEO),--input "$(VIDEO)") --output out/demo

docs: install/.built ## Write docs/parameters.md, docs/topics.md and docs/projector.md from the code
	$(RUN) python -m camss_ros.nodes.reference docs

clean: ## Remove the environment and everything built
	rm -rf $(VENV) $(OLDEST) $(MUTATION) build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
