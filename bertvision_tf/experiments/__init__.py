"""Whole experiments: one run from a task to its results, grids of runs, comparisons, ensembles and injections."""
