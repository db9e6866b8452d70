# Everything is made by these targets; nothing needs to be installed by hand first but Python, git and make.
SHELL := /bin/bash
VENV := .venv
EFFORT ?= 50
AXLE := $(VENV)/bin/axle
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help up down test unit lint bench soak e2e-kind crds clean

help: ## show this
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements/dev.txt pyproject.toml scripts/setup
	@scripts/setup $(VENV)
	@touch $(STAMP)

up: $(STAMP) ## a hub and three real spokes on this machine, with the sample deployed
	@$(AXLE) up $(ARGS)

down: $(STAMP) ## stop and delete what `up` started, a crashed start included
	@$(AXLE) down

test: $(STAMP) ## everything that decides whether a change is good
	@scripts/test

unit: $(STAMP) ## the fast tests alone: no API server, no processes
	@$(VENV)/bin/python -m pytest -q tests/unit

lint: $(STAMP) ## ruff, mypy, import rules
	@scripts/lint

bench: $(STAMP) ## measure, and print the figures beside their targets
	@$(VENV)/bin/python -m tests.bench $(ARGS)

soak: $(STAMP) ## long randomised runs
	@AXLETREE_EFFORT=$(EFFORT) $(VENV)/bin/python -m pytest -q tests/unit tests/integration -m "hypothesis or soak" --timeout=0

e2e-kind: $(STAMP) ## the sample on kind clusters; needs Docker and kind
	@$(AXLE) up --provider kind && $(AXLE) wait axletree-system/root --for Healthy --timeout 10m; \
	code=$$?; $(AXLE) down; exit $$code

crds: $(STAMP) ## generate crds/ from the models
	@$(VENV)/bin/python -m hub.api.schema

clean: down ## also remove the virtual environment
	@rm -rf $(VENV) .bench
