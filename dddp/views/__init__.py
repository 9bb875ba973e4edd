"""Views that a project's URLs lead to."""

from dddp.views.meteor import MeteorView

__all__ = ["MeteorView"]  # its canonical name
