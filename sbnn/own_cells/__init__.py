"""Models of the reader's own cells: fitted, saved, loaded, drawn."""
