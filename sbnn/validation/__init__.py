"""Cross-validation, its execution and its store; penalty paths; comparisons; prediction of other cohorts."""
