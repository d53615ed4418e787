"""The pool network, LiteMiner: clients hand in work, a pool shares it out, miners do it."""
