"""Where nodes keep their journals, unless they are told otherwise."""

from __future__ import annotations

from pathlib import Path

import platformdirs

__all__ = ["NAME_CHARACTERS_MAX", "journal_path"]

NAME_CHARACTERS_MAX = 64


def journal_path(option: str | None, *names: object) -> Path | None:
    """The file that `--journal` names; None for 'off'.

    Where it was not given, a file in the user's state folder, called by these names: whatever makes
    a node another one than its neighbours.
    """
    if option == "off":
        return None
    if option is not None:
        return Path(option)
    safe = ("".join(c if c.isalnum() else "-" for c in str(name)) for name in names)
    folder = platformdirs.user_state_path("nonsuch", appauthor=False)
    return folder / f"{'-'.join(name[:NAME_CHARACTERS_MAX] for name in safe)}.journal"
