"""The shipped cores in virtual time: a world where a day costs milliseconds and a bug is a seed.

`world` has the clock, the machines and their disks and searches; `network` is all that a network
can do to those who trust it, and `datagrams` what it does to those who do not. Nothing here knows
which cores it runs: they come as factories.
"""
