"""Whole networks that are watched and controlled: processes of this machine, or a simulation."""
