"""The app with the table."""
