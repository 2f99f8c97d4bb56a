"""Files: self-describing results, model archives, the authors' pickles."""
