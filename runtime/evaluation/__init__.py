"""How well songs are separated, given their true stems: the paper's evaluation."""
