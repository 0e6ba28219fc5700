"""How well songs are separated, measured against their true stems as in the paper."""
