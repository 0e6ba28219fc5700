"""The demo weights, and how to train them again: README.md."""
