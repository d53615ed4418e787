"""The race: nodes that search the same text, one winner, one ledger."""
