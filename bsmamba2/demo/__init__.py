"""The demo's weights, and how they were trained: README.md."""
