"""One function per figure, and their common parts."""
