"""Data sets that trainings make of jets: tokens, decoded and generated jets, mixtures; and how close they come."""
