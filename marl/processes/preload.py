"""Imported once by the forkserver, so that every worker starts with it; nothing else imports this module.

The collector is off meanwhile and what was loaded is frozen: forked workers then share those pages instead of copying
them at their first collection.
"""

import gc
import importlib
import os
import signal

from marl.processes.parent_death import die_with, outlive

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; only the main process answers it
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # and so does the end of a terminal
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # since the main process blocked it
os.environ.setdefault("OMP_NUM_THREADS", "1")
die_with(int(os.environ.get("MARL_MAIN", "0")))  # which loading would notice seconds later
gc.disable()
# By name, since this floor knows nothing of those above it.
for name in ("torch", "numpy", "gymnasium", *os.environ.get("MARL_PRELOAD", "").split()):
    importlib.import_module(name)
gc.enable()
gc.freeze()
outlive()  # from now on it waits for its main process's end, and the thread that has started it may end before
