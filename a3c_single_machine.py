"""Train one policy with all cores of this machine: python a3c_single_machine.py [--help]"""

# Parameters to edit; shell options win over them. Every setting is listed in docs/settings.md.
PARAMETERS = {
    "environment.id": "CartPole-v1",  # any gymnasium id, package.module:Id-v0, or package.module:factory
    # "algorithm.name": "ppo",          # or "a3c", "impala", "apex_dqn", "sac", package.module:Class
    # "environment.per_worker": 16,     # environments a worker plays at once
    # "algorithm.learning_rate": 2e-3,  # of the shared optimizer
    # "algorithm.t_max": 5,             # steps between two updates
    # "algorithm.discount": 0.99,       # worth of a reward one step later
    # "algorithm.entropy_cost": 0.01,   # more keeps exploring
    # "network.hidden": [64, 64],       # width of each hidden layer
    # "node.workers": 2,                # worker processes; default: one a core
    # "stop.minutes": 10,               # default: until solved
}

if __name__ == "__main__":
    from marl.cli.single_machine import main

    main(PARAMETERS)
