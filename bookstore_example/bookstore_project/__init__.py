"""The Django project around the bookstore app."""
