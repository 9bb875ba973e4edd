"""What every Meteor client subscribes to by itself (ddp-wire 8.1), declared as any app declares its publications."""

from __future__ import annotations

from dddp.api import API, Publication
from dddp.views.served import client_versions

__all__ = ["ClientVersions", "LoginServices"]


class ClientVersions(Publication):
    """The versions of the app that ``MeteorView`` serves; a page of another one reloads itself."""

    name = "meteor_autoupdate_clientVersions"

    def publish(self, app_id: str | None = None) -> None:
        for arch, fields in client_versions(app_id).items():
            self.added(self.name, arch, fields)
        self.ready()


class LoginServices(Publication):
    """The OAuth services that clients may log in by: there are none."""

    name = "meteor.loginServiceConfiguration"

    def publish(self) -> None:
        self.ready()


API.register([ClientVersions, LoginServices])
