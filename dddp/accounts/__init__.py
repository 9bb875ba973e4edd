"""Login over ``django.contrib.auth``, as Meteor's accounts packages do it: put ``dddp.accounts`` in ``INSTALLED_APPS``.

Written with ``dddp.api`` alone: what it does, any project could do, or do otherwise.
"""
