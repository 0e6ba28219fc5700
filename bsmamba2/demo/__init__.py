"""The demo: a song made by the project itself, and the checkpoint `--ckpt demo` names."""
