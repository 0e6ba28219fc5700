"""Many songs on several processes or machines: who separates which song, and what happens when one of them dies."""
