"""A Django app whose publications need every kind of query."""
