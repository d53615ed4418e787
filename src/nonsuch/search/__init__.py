"""How it is found: SHA-256 traced into code for the processor at hand, threads to run it."""
