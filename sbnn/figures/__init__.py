"""One function per figure, and what they share."""
