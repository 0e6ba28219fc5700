"""From songs with known stems to a trained network: the paper's data, loss and optimisation."""
