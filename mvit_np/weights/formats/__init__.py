"""Files of named arrays, whatever their format."""
