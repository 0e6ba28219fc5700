"""Separation as a service."""
