"""What other programs of this network speak: unframed requests, answers without a name."""
