"""Measuring the speed of engines: contenders in separate processes that take turns, results, reports."""
