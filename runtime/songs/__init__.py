"""Files and folders of songs through a separator."""
