"""Models of the user's own cells: fitted, saved, loaded, drawn."""
