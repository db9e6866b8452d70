"""Generators: each gives parameter sets, and each is one pure function."""
