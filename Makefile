# One target a stage; `make` alone lists them. P picks the project: make train P=street
P ?= zipcodes
REVIEWER ?= simulated
PYTHON ?= python3

VENV := .venv
LABEL_STUDIO := .venv-label-studio
WORKFLOW := $(VENV)/bin/workflow
# Two processes: one for all tests that start servers, one for the rest.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder
PIP_INSTALL := -m pip install -qq --no-compile --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo catalog preannotate push review pull serve ledger history import export dataset train \
        preview embed evaluate app-pull promote loop duplicates up down status doctor test fast check browser constraints clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/ready $(LABEL_STUDIO)/ready  ## install everything into virtual environments here
	@$(VENV)/bin/python -m workflow.services.mongod >/dev/null

demo:  ## the whole loop, from raw images to an evaluated model (REVIEWER=me to review yourself)
	@$(MAKE) --no-print-directory -j2 setup
	@$(WORKFLOW) demo $(P) --reviewer $(REVIEWER) $(if $(TRUST),--trust)

catalog: $(VENV)/ready  ## hash, measure and split the raw images
	@$(WORKFLOW) catalog $(P)

preannotate: $(VENV)/ready  ## let the model guess labels
	@$(WORKFLOW) preannotate $(P)

push: $(VENV)/ready  ## send images and guesses to Label Studio
	@$(WORKFLOW) push $(P)

review: $(VENV)/ready  ## let the simulated reviewer correct what waits
	@$(WORKFLOW) review $(P)

pull: $(VENV)/ready  ## fetch the corrected labels, keep the ledger
	@$(WORKFLOW) pull $(P)

serve: $(VENV)/ready  ## help people while they label: guesses, masks for clicks, pulls (Ctrl-C stops it)
	@$(WORKFLOW) serve $(P) --connect

ledger: $(VENV)/ready  ## what people did to the guesses, in figures, and thresholds to set
	@$(WORKFLOW) ledger $(P)

dataset: $(VENV)/ready  ## build the Hugging Face dataset
	@$(WORKFLOW) dataset $(P)

history: $(VENV)/ready  ## every change of the labels (N=3 goes back to what they were after change 3)
	@$(WORKFLOW) history $(P) $(if $(N),--restore $(N))

import: $(VENV)/ready  ## labels of another tool: make import FORMAT=coco FROM=instances.json [IMAGES=DIR]
	@$(WORKFLOW) import $(FORMAT) "$(FROM)" $(P) $(if $(IMAGES),--images "$(IMAGES)")

export: $(VENV)/ready  ## labels for another tool: make export FORMAT=coco TO=instances.json
	@$(WORKFLOW) export $(FORMAT) "$(TO)" $(P)

train: $(VENV)/ready  ## fine-tune on the dataset
	@$(WORKFLOW) train $(P)

preview: $(VENV)/ready  ## draw a sheet of training images as they are varied
	@$(WORKFLOW) train $(P) --preview

embed: $(VENV)/ready  ## vectors of the images, for maps and likeness in the App
	@$(WORKFLOW) embed $(P)

evaluate: $(VENV)/ready  ## compare with the model before: numbers, report, FiftyOne
	@$(WORKFLOW) evaluate $(P)

app-pull: $(VENV)/ready  ## what people did in the FiftyOne App: tags, edited labels (YES=1 takes it)
	@$(WORKFLOW) app pull $(P) $(if $(YES),--yes)

promote: $(VENV)/ready  ## let the new model guess next, if it is not worse and costs people no more (BACK=1: the one before)
	@$(WORKFLOW) promote $(P) $(RUN) $(if $(BACK),--back)

loop: $(VENV)/ready  ## one round: pull, dataset, train, evaluate, promote if better, preannotate, push
	@$(WORKFLOW) loop $(P)

duplicates: $(VENV)/ready  ## draw the images that are near-copies of each other
	@$(WORKFLOW) duplicates $(P)

up: setup  ## start Label Studio, mongod and the FiftyOne App on this machine only
	@$(WORKFLOW) up

down: $(VENV)/ready  ## stop them
	@$(WORKFLOW) down

status: $(VENV)/ready  ## what is done, stale or missing, and which servers run
	@$(WORKFLOW) status $(P)

doctor: $(VENV)/ready  ## check this machine, and say what to type
	@$(WORKFLOW) doctor $(P)

test:  ## all tests, with the real servers and a real browser
	@$(MAKE) --no-print-directory -j2 setup
	@$(MAKE) --no-print-directory browser
	@$(PYTEST)

fast: $(VENV)/ready  ## the tests that start no server, under two minutes
	@$(PYTEST) -m "not services and not slow"

check: $(VENV)/ready  ## lint, types, fast tests
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(PYTEST) -m "not services and not slow"

clean: $(VENV)/ready  ## stop the servers; remove environments and caches, keep every project's data
	@$(WORKFLOW) down
	rm -rf $(VENV) $(LABEL_STUDIO) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# A browser for the tests: one that is there, else Debian's, else the one playwright brings.
browser: $(VENV)/ready
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } \
	  || $(VENV)/bin/playwright install chromium \
	  || echo "no browser to be had: the tests that need one will be skipped"

# The environments, made once, and again only when what they are made from has changed.
$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11 -> make setup PYTHON=python3.12"; exit 1; }
	@echo "installing workflow into $(VENV) (once; torch is large)"
	@[ -x $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e ".[ultralytics,export,imagenet,coco,unet,ray,demo,dev]"
# ultralytics and fiftyone each bring an OpenCV; they overwrite each other, and only the headless one
# runs on a machine without a screen.
	@$(VENV)/bin/python -m pip uninstall -qq --yes opencv-python
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	@touch $@

$(LABEL_STUDIO)/ready: constraints-label-studio.txt
	@echo "installing Label Studio into $(LABEL_STUDIO) (once)"
	@[ -x $(LABEL_STUDIO)/bin/python ] || $(PYTHON) -m venv $(LABEL_STUDIO)
	@$(LABEL_STUDIO)/bin/python $(PIP_INSTALL) -c constraints-label-studio.txt label-studio
	@touch $@

constraints: setup  # write the exact versions that are installed now
	@$(VENV)/bin/python -m pip freeze --exclude-editable | grep -v '@' > constraints.txt
	@sed -n 's/^opencv-python-headless==/opencv-python==/p' constraints.txt >> constraints.txt
	@$(LABEL_STUDIO)/bin/python -m pip freeze | grep -v '@' > constraints-label-studio.txt
