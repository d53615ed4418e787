"""The five networks: what each says on its wire, and what each of its nodes decides."""
