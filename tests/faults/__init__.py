"""Faults made on purpose: links that freeze and break, processes that die."""
