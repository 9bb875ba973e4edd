"""The Django project that the end-to-end benchmarks serve: one table, published in a few ways."""
