"""Published data sets, one module per laboratory: what is kept, what is left out and why."""
