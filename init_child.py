"""Lend this machine to a parent: python init_child.py -ip <lan_ip> -p <port> [--help]"""

if __name__ == "__main__":
    from marl.cli.child import child
    from marl.cli.main import run

    run(child)
