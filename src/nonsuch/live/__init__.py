"""Where time and input and output are real: the only asyncio of the package."""
