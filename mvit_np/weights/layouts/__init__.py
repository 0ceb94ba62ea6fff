"""The names, axes and habits of five code bases."""
