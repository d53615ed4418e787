"""Where a search runs: the threads of this process, other processes, a cluster."""
