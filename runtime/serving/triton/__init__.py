"""Engines in Triton Inference Server: the model repository, the song model that runs in it, and a client.

An engine becomes two models. NAME_network runs the engine, in batches that Triton makes of the chunks of all songs.
NAME, in Triton's Python backend, takes a song and gives its stems piece by piece: it cuts chunks and joins them as
`bsm-run` does, and asks NAME_network for each chunk.
"""
