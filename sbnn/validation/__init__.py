"""Cross-validation, its execution and its store; penalty paths; comparisons; other cohorts."""
