"""Readers of annotation files and folder layouts."""
