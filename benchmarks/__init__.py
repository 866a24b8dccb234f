"""Speed against peers, and the tables of results that are generated from records."""
