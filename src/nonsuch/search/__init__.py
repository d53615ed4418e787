"""How it is found: SHA-256 traced into code for the processor at hand, and threads that share a range."""
