"""Parts that several experiments share; no experiments themselves."""
