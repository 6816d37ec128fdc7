"""Train one policy on several machines: python init_parent.py -ip <child_ip> <child_ip> ... -p <port> [--help]"""

# Parameters to edit; shell options win over them. Every setting is listed in docs/settings.md.
PARAMETERS = {
    "environment.id": "CartPole-v1",  # any gymnasium id, package.module:Id-v0, or package.module:factory
    # "algorithm.name": "ppo",          # or "a3c", "impala", "apex_dqn", "sac", package.module:Class
    # "environment.per_worker": 16,     # environments a worker plays at once
    # "algorithm.learning_rate": 2e-3,  # of each child's optimizer
    # "algorithm.t_max": 5,             # steps between two updates
    # "exchange.name": "experience",    # children only play, a learner here learns; or another, see docs/algorithms.md
    # "exchange.every": "5 seconds",    # or "20000 steps", "1 episode": how often weights are averaged
    # "exchange.barrier": True,         # workers wait while weights travel
    # "exchange.codec": "int8",         # smaller messages, for slow networks
    # "stop.minutes": 10,               # default: until solved
}

if __name__ == "__main__":
    from marl.cli.parent import main

    main(PARAMETERS)
