"""What the rules need to know, as functions: which files an experiment makes, from what, and under which names."""
