"""Other people's interfaces over our parts: thin, and for those who know them already."""
