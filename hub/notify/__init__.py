"""Telling people and programs what became of apps and sets: what is told, when, and to whom."""
