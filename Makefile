# Everything runs in .venv, made here on first use. Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Of a time-boxed run: TIME=15 NWORKERS=3 make run_lunar
TIME ?= 5
NWORKERS ?=
ALGORITHM ?=

CARTPOLE := --env CartPole-v1 --peers ppo
LUNAR_ONLY := --env LunarLander-v3 --max-seconds 600
LUNAR := --env LunarLander-v3 --algorithm a3c --max-seconds 480 --peers ppo a2c --peer-seeds 100

.DEFAULT_GOAL := help
.PHONY: help install install-dev run run_cartpole run_lunar run_bipedal study test test-more worlds matrix faults lint format bench bench-algorithms bench-cluster bench-full clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  TIME=15 NWORKERS=3 ALGORITHM=ppo make run_lunar: 15 minutes, 3 workers, another algorithm"

install: $(VENV)/.installed ## make .venv with everything that training needs

install-dev: $(VENV)/.installed-dev ## the same, and what the tests need

run: $(VENV)/.installed ## train CartPole-v1 on a local cluster of two children until solved, then evaluate weights.pt
	$(BIN)/python init_parent.py --local 2
	$(BIN)/python test_env.py weights.pt

run_cartpole: $(VENV)/.installed ## train CartPole-v1 for TIME minutes with NWORKERS workers, then evaluate weights.pt
	$(call timed,CartPole-v1)

run_lunar: $(VENV)/.installed ## the same with LunarLander-v3
	$(call timed,LunarLander-v3)

run_bipedal: $(VENV)/.installed ## the same with BipedalWalker-v3
	$(call timed,BipedalWalker-v3)

# The whole time, even if it is solved before; the weights kept are the best that were evaluated.
define timed
	$(BIN)/python -m marl train $(1) --minutes $(TIME) --set stop.solved=false $(if $(NWORKERS),--workers $(NWORKERS)) $(if $(ALGORITHM),--algorithm $(ALGORITHM))
	$(BIN)/python test_env.py weights.pt
endef

study: $(VENV)/.installed ## a small study, 12 runs of CartPole-v1, and its report: at most 10 minutes
	$(BIN)/python -m marl study studies/cartpole.toml

test: lint ## lint, type check, tests: needs pip and nothing else; up to 12 minutes on 2 cores
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-more: $(VENV)/.installed-more ## the tests that take minutes, or show again over TLS what others show: up to 30 minutes
	MARL_TEST_TIME_FACTOR=$${MARL_TEST_TIME_FACTOR:-2} $(BIN)/python -m pytest -m slow --timeout 1800

worlds: $(VENV)/.installed-worlds ## tests of every world that an extra brings, and 10,000 steps of training in each: up to 25 minutes
	$(BIN)/python -m pytest -rs tests/environments
	$(BIN)/python benchmarks/worlds.py

matrix: $(VENV)/.installed-dev ## train every combination of network, spaces, mask, algorithm and exchange: about 20 minutes
	$(BIN)/python -m tests.matrix.all_cells

faults: $(VENV)/.installed-dev ## every fault as often as promised (kills, poison, partitions, fuzzing): about 50 minutes
	MARL_FAULTS=1 $(BIN)/python -m pytest tests/faults --timeout 3600

lint: $(VENV)/.installed-dev ## ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## let ruff put every file in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed ## against stable-baselines3 on CartPole-v1, within 5 minutes (first run: installs the peer)
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/time_to_solve.py $(CARTPOLE) --seeds 100 101 102 --max-seconds 60
	$(BIN)/python benchmarks/throughput.py --seconds 10
	$(BIN)/python benchmarks/startup.py --runs 3

bench-cluster: $(VENV)/.installed ## links, rounds and children, against Flower and hivemind: about 30 minutes
	$(BIN)/python benchmarks/link.py
	$(BIN)/python benchmarks/codec.py
	$(BIN)/python benchmarks/averaging.py
	$(BIN)/python benchmarks/rounds.py
	$(BIN)/python benchmarks/gradient_rounds.py
	$(BIN)/python benchmarks/many_children.py
	$(BIN)/python benchmarks/contact.py
	$(BIN)/python benchmarks/crowd.py
	$(BIN)/python benchmarks/slow_link.py
	$(BIN)/python benchmarks/scaling.py

bench-algorithms: $(VENV)/.installed ## PPO, IMPALA, Ape-X DQN and SAC against their peers, masks, memory, replay, exchanges: up to 2 hours
	$(BIN)/python benchmarks/time_to_solve.py --algorithm ppo --peers ppo rllib:ppo samplefactory:appo --peer-seeds 100 101
	$(BIN)/python benchmarks/time_to_solve.py --algorithm ppo --peers $(LUNAR_ONLY)
	$(BIN)/python benchmarks/time_to_solve.py --algorithm impala --local 2 --peers rllib:impala --peer-seeds 100
	$(BIN)/python benchmarks/time_to_solve.py --algorithm impala --local 2 --peers $(LUNAR_ONLY) --seeds 100 101 102
	$(BIN)/python benchmarks/time_to_solve.py --algorithm apex_dqn --peers dqn rllib:dqn --peer-seeds 100 101
	$(BIN)/python benchmarks/time_to_solve.py --algorithm apex_dqn --peers dqn $(LUNAR_ONLY) --peer-seeds 100
	$(BIN)/python benchmarks/time_to_solve.py --algorithm sac --env Pendulum-v1 --peers sac rllib:sac --seeds 100 101 102
	$(BIN)/python benchmarks/time_to_solve.py --env Taxi-v4 --peers maskable_ppo --seeds 100 --max-seconds 480
	$(BIN)/python benchmarks/memory_cost.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/replay_learning.py
	$(BIN)/python benchmarks/experience.py
	$(BIN)/python benchmarks/observations.py

bench-full: $(VENV)/.installed ## five seeds, A2C too, LunarLander-v3, Pong, MuJoCo, then the two above: up to 6 hours; backs a claim
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/time_to_solve.py $(CARTPOLE) a2c --seeds 100 101 102 103 104
	$(BIN)/python benchmarks/time_to_solve.py $(LUNAR) --seeds 100 101 102 103 104
	$(BIN)/python benchmarks/throughput.py --seconds 30
	$(BIN)/python benchmarks/startup.py --runs 7
	$(BIN)/python benchmarks/averaging_learning.py --steps 3000000 --rules "one node" "mean, 0.5 s" "int8, 0.5 s" "int4, 0.5 s" \
		--seeds 100 101 102 103 104
	$(BIN)/python benchmarks/atari_speed.py
	$(BIN)/python benchmarks/after_minutes.py --env HalfCheetah-v5
	$(BIN)/python benchmarks/after_minutes.py --env Hopper-v5
	$(MAKE) bench-algorithms
	$(MAKE) bench-cluster

clean: ## remove .venv, caches and everything a run writes here, except runs/
	rm -rf $(VENV) .venv-peers .venv-peers-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	rm -rf benchmarks/results weights.pt
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamps say which files an installation came from: it is repeated only when one of them changes.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "marl needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.installed-more: requirements-more.txt $(VENV)/.installed-dev
	$(PIP) -r requirements-more.txt
	@touch $@

$(VENV)/.installed-worlds: requirements-worlds.txt $(VENV)/.installed-dev
	$(PIP) -r requirements-worlds.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP) -r requirements-dev.txt
	@touch $@
