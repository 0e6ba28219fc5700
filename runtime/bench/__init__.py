"""Measuring engines: contenders in processes of their own that take turns, what came out, and how it is shown."""
