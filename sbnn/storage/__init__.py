"""Files: results that explain themselves, model archives, the authors' pickles."""
