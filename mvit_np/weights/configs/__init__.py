"""The config that belongs to parameters: by their shapes, or by the text inside the file."""
