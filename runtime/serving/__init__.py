"""Separation as a service: songs come by HTTP, stems are heard in a page or downloaded."""
