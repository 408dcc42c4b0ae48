# From a bare machine (Python 3.11, make, a C++ compiler) to a tested workspace and a demo.
# On a ROS installation use `colcon build` instead; nothing here is needed there.

VENV   ?= .venv
PYTHON ?= $(firstword $(shell command -v python3.11 || command -v python3))
VIDEO  ?=
DURATION ?= 1800
override VENV := $(abspath $(VENV))
export VENV

RUN := scripts/in_workspace
requirements := $(wildcard requirements/*.txt)
package := CMakeLists.txt package.xml $(wildcard cmake/* msg/* scripts/* launch/* config/* config/*/*)

# In a process of their own: after the tests of the graph runtimes, training once ended in a
# segmentation fault whose cause is not known.
training_tests := $(wildcard test/test_train*.py) test/test_twin.py

.DEFAULT_GOAL := help
.PHONY: help venv build test test-faults soak demo docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## Virtual environment with the pinned requirements

$(VENV)/.installed: $(requirements)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 11) or sys.exit(f"Python 3.11 is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
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
	$(RUN) mypy
	$(RUN) pytest $(addprefix --ignore=,$(training_tests))
	$(RUN) pytest $(training_tests)

test-faults: install/.built ## The fault tests in their long form, without allowance for a busy machine
	CAMSS_ROS_FAULTS=long $(RUN) pytest $(wildcard test/test_fault_*.py)

soak: install/.built ## The node at work for DURATION seconds (1800), numbers in docs/results/soak.md
	$(RUN) python test/soak.py --duration $(DURATION)

demo: install/.built ## Segment the synthetic street, or VIDEO=path (video file or image folder), over DDS
	$(RUN) camss-ros demo $(if $(VIDEO),--input "$(VIDEO)") --output out/demo

docs: install/.built ## Write docs/parameters.md and docs/topics.md from the code
	$(RUN) python -m camss_ros.nodes.reference docs

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
