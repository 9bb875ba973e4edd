"""Tests of capture, envelopes and the listener, on a database of their own."""
