"""Networks that run over all sites in parallel, or one site at a time."""
