"""Tests of the bookstore example: its data, models, settings and commands."""
