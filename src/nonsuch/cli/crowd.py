"""Room for a crowd: as many connections as the system has files for."""

from __future__ import annotations

from nonsuch.cli.facts import ConnectionsLimited
from nonsuch.cli.logs import Logger
from nonsuch.live.run import open_files_max

__all__ = ["connections_possible"]

FILES_BESIDE = 64
"""Files that a node opens and that are no peers: its journal, its log, its ports, who reads its
metrics, a pool above it, and some strangers, who must come in before they can be refused."""


def connections_possible(wanted: int, log: Logger) -> int:
    """How many connections there can be at once: as many as wanted, or fewer, which is logged.

    Whoever comes beyond them is told so, where beyond the system's limit nobody would be heard.
    """
    files = open_files_max(wanted + FILES_BESIDE)
    if files is None or files >= wanted + FILES_BESIDE:
        return wanted
    connections = max(1, files - FILES_BESIDE)
    why = f"the system lets this process open {files} files: raise that limit (ulimit -n)"
    log(ConnectionsLimited(connections, wanted, why))
    return connections
