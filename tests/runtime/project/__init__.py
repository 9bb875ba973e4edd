"""The Django project that the tests of the runtime serve: two databases, and every kind of declaration."""
