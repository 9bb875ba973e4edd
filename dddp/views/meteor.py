"""``MeteorView`` serves what ``meteor build --directory`` made, so that a Meteor app needs no Meteor server.

HTTP and settings live here; what a bundle is lives in ``dddp.meteor``. Compression and byte ranges are a front
server's, as for all static files of Django.
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.decorators import classonlymethod, method_decorator
from django.utils.functional import SimpleLazyObject
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View

from dddp import conf
from dddp.meteor.browsers import is_modern
from dddp.meteor.bundle import Asset, Program, read_bundle
from dddp.meteor.modules import FETCH_PATH, fetch_modules
from dddp.meteor.page import Page, config_script
from dddp.meteor.settings import SettingsSource, merge_settings, read_settings
from dddp.meteor.site import Site

__all__ = ["MeteorView"]

FOREVER = "public, max-age=31536000, immutable"
"""For what is at a URL of its own content's hash; a year, as Meteor says it."""

ALWAYS_ASK = "no-cache"
"""May be kept, but never used without asking whether it is still right."""

CONFIG_PATH = "/meteor_runtime_config.js"

NEVER_A_PAGE = frozenset({"/favicon.ico", "/robots.txt", "/app.manifest", CONFIG_PATH, FETCH_PATH})
"""What clients ask for by themselves: the app's page would be a wrong answer."""

CONTENT_TYPES = {
    "js": "application/javascript; charset=utf-8",
    "dynamic js": "application/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json; charset=utf-8",
}
"""By the type in the manifest; others go by the ending of the file's name."""


@method_decorator(csrf_exempt, name="dispatch")  # the one POST, for import(), reads public files
class MeteorView(View):
    """Serve a Meteor app at a URL and all below it.

    Give the rest of the path to it as ``path``, in the last line of ``urlpatterns`` as a rule::

        re_path(r"^(?P<path>.*)$", MeteorView.as_view(json_path="/srv/app/bundle/star.json"))

    The bundle is read at the first request and kept; restart to serve another.

    Attributes:
        json_path: the ``star.json`` of the bundle.
        meteor_settings: of this view, a dict or the path of a JSON file; only what is ``public`` goes to clients.
        meteor_public_envs: names of environment variables that become public settings.
        runtime_config: further keys of ``__meteor_runtime_config__``, such as ``{"DISABLE_SOCKJS": True}``.
        root_url: of the app, with its path; by default as the request came in.
        bundled_js_css_prefix: goes before the URLs of scripts and stylesheets in place of the path: a CDN.
        inline_scripts_allowed: False for a Content-Security-Policy that forbids them.
        autoupdate: whether clients that are connected reload when another bundle is served.
    """

    http_method_names = ["get", "head", "post", "options"]

    json_path: str | Path = ""
    meteor_settings: SettingsSource = None
    meteor_public_envs: Iterable[str] = ()
    runtime_config: Mapping[str, Any] = {}
    root_url: str = ""
    bundled_js_css_prefix: str | None = None
    inline_scripts_allowed: bool = True
    autoupdate: bool = True

    site: Site | None = None  #: the bundle, read; ``as_view`` sees to it

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        site = SimpleLazyObject(lambda: cls(**initkwargs).read_site())
        return super().as_view(**{"site": site, **initkwargs})

    def read_site(self) -> Site:
        """Read the bundle and the settings; called once, at the first request.

        Raises:
            BundleError: there is no good bundle at ``json_path``.
            ImproperlyConfigured: ``json_path`` is not set, or settings are no JSON object.
        """
        if not self.json_path:
            raise ImproperlyConfigured(
                f'{type(self).__name__} needs the star.json of a bundle: as_view(json_path=".../star.json")'
            )
        version = os.environ.get("AUTOUPDATE_VERSION")
        return Site(read_bundle(Path(self.json_path)), self.get_public_settings(), version)

    # --- what subclasses may override

    def get_public_settings(self) -> dict[str, Any]:
        """``Meteor.settings.public``: of ``settings.METEOR_SETTINGS``, this view and the environment, in this order."""
        sources = {
            "settings.METEOR_SETTINGS": getattr(settings, "METEOR_SETTINGS", None),
            "meteor_settings": self.meteor_settings,
            "the environment variable METEOR_SETTINGS": os.environ.get("METEOR_SETTINGS"),
        }
        merged = merge_settings(_settings_from(source, name) for name, source in sources.items())
        from_environment = {name: os.environ[name] for name in self._public_envs() if name in os.environ}
        return {**merged.get("public", {}), **from_environment}

    def get_runtime_config(self, program: Program) -> dict[str, Any]:
        """``__meteor_runtime_config__`` for the page of this request."""
        prefix = self.url_prefix
        return {
            **self._site.runtime_config(program),
            "ROOT_URL": self.root_url or self._absolute(f"{prefix}/"),
            "ROOT_URL_PATH_PREFIX": prefix,
            "DDP_DEFAULT_CONNECTION_URL": self.get_ddp_url(),
            **self.runtime_config,
        }

    def get_ddp_url(self) -> str:
        """Where clients connect: this server.

        A path where that will do, since it stays right behind any proxy; clients take paths for those of the app, so
        an app that is not at the root gets the whole URL.
        """
        ddp_path = f"{conf.load().url_prefix}/"
        return self._absolute(ddp_path) if self.url_prefix else ddp_path

    def get_html_attributes(self) -> dict[str, str]:
        """Attributes of ``<html>``, such as ``lang``."""
        return {}

    def get_dynamic_head(self) -> str:
        """HTML for the end of the page's head."""
        return ""

    def get_dynamic_body(self) -> str:
        """HTML for the page's body, after the app's own."""
        return ""

    def is_modern(self) -> bool:
        """Whether this browser gets the program ``web.browser``; else it gets ``web.browser.legacy``."""
        return is_modern(self.request.headers.get("User-Agent", ""))

    def client_versions(self, prefix: str, app_id: str | None) -> dict[str, dict[str, Any]]:
        """Autoupdate's documents by architecture, where the app's path is ``prefix``; none for another app's client."""
        bundle = self._site.bundle
        if app_id and bundle.app_id and app_id != bundle.app_id:
            return {}
        return {
            arch: {**self._site.versions[arch], "assets": self._assets_told(program, prefix)}
            for arch, program in bundle.programs.items()
        }

    # --- requests

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        if "path" not in self.kwargs:
            raise ImproperlyConfigured(
                f"{type(self).__name__} serves all that is below its URL and must be told the rest of the path: "
                're_path(r"^(?P<path>.*)$", ...)'
            )
        self.path = f"/{self.kwargs['path']}"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        patch_vary_headers(response, ["User-Agent"])
        return response

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        """A file of the bundle, else the app's page: its router knows what the path means."""
        program = self._site.program(self.is_modern())
        asset = self._asset(program)
        if asset is not None:
            return self._file(asset)
        if self.path == CONFIG_PATH and not self.inline_scripts_allowed:
            return _text(config_script(self.get_runtime_config(program)), CONTENT_TYPES["js"])
        return self._missing_resource() or self._page(program)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        """The sources of the modules that ``import()`` asks for."""
        if self.path != FETCH_PATH:
            return HttpResponseNotAllowed(["GET", "HEAD", "OPTIONS"])
        try:
            tree = fetch_modules(self._site.program(self.is_modern()), json.loads(request.body))
        except (ValueError, RecursionError):
            return self._allow_any_origin(JsonResponse("bad request", status=400, safe=False))
        return self._allow_any_origin(JsonResponse(tree, safe=False))

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().options(request, *args, **kwargs)
        return self._allow_any_origin(response) if self.path == FETCH_PATH else response

    # --- answers

    def _asset(self, program: Program) -> Asset | None:
        """A file of the browser's own program, else of the other: a page outlives an update of its browser."""
        programs = [program, *self._site.bundle.programs.values()]
        return next((each.assets[self.path] for each in programs if self.path in each.assets), None)

    def _file(self, asset: Asset) -> HttpResponseBase:
        etag = f'"{asset.hash}"' if asset.hash else None
        guessed = mimetypes.guess_type(asset.file.name)[0] or "application/octet-stream"
        response = get_conditional_response(self.request, etag=etag) or FileResponse(
            asset.file.open("rb"), content_type=CONTENT_TYPES.get(asset.type or "", guessed)
        )
        response.headers["Cache-Control"] = FOREVER if asset.cacheable else ALWAYS_ASK
        if etag:
            response.headers["ETag"] = etag
        if asset.source_map:
            response.headers["SourceMap"] = self.url_prefix + asset.source_map
        return response

    def _missing_resource(self) -> HttpResponse | None:
        """The answer for what is certainly no page: a file of an earlier bundle, or what browsers ask for unasked."""
        if "meteor_css_resource" in self.request.GET:
            # Meteor's client looks for this rule to find out that the stylesheet is gone.
            return _text(".meteor-css-not-found-error { width: 0px;}", CONTENT_TYPES["css"])
        gone = {"meteor_js_resource", "meteor_dont_serve_index"} & set(self.request.GET)
        return _text("Not Found", "text/plain", status=404) if gone or self.path in NEVER_A_PAGE else None

    def _page(self, program: Program) -> HttpResponse:
        config = self.get_runtime_config(program)
        prefix = self.url_prefix
        page = Page(
            program,
            config,
            url_prefix=self._resource_prefix(prefix),
            config_url=None if self.inline_scripts_allowed else f"{prefix}{CONFIG_PATH}",
            html_attributes=self.get_html_attributes(),
            head=self.get_dynamic_head(),
            body=self.get_dynamic_body(),
        )
        return _text(page.render(), "text/html; charset=utf-8")

    def _allow_any_origin(self, response: HttpResponseBase) -> HttpResponseBase:
        """For pages whose ``ROOT_URL`` has another host than their address; what they get is public."""
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Methods"] = "POST"
        response.headers["Access-Control-Allow-Headers"] = "*"
        return response

    # --- where it is

    def _assets_told(self, program: Program, prefix: str) -> list[dict[str, str]]:
        return [{"url": self._resource_prefix(prefix) + url} for url in program.stylesheets]

    def _resource_prefix(self, prefix: str) -> str:
        """What goes before the URL of a script or a stylesheet, in an app whose path is ``prefix``."""
        return prefix if self.bundled_js_css_prefix is None else self.bundled_js_css_prefix

    @property
    def _site(self) -> Site:
        assert self.site is not None, "made by as_view"
        return self.site

    @property
    def url_prefix(self) -> str:
        """The path of the app, without a slash at the end: empty at the root."""
        return self.request.path.removesuffix(self.kwargs["path"]).rstrip("/")

    def _absolute(self, path: str) -> str:
        url = self.request.build_absolute_uri(path)
        return re.sub(r"^http:", "https:", url) if settings.SECURE_SSL_REDIRECT else url

    def _public_envs(self) -> list[str]:
        """Names of the setting, this view and the environment variable, which has commas or spaces between them."""
        in_environment = re.split(r"[\s,]+", os.environ.get("METEOR_PUBLIC_ENVS", ""))
        return [*getattr(settings, "METEOR_PUBLIC_ENVS", ()), *self.meteor_public_envs, *in_environment]


def _settings_from(source: SettingsSource, name: str) -> Mapping[str, Any]:
    try:
        return read_settings(source)
    except (OSError, ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from error


def _text(text: str, content_type: str, *, status: int = 200) -> HttpResponse:
    return HttpResponse(text, content_type=content_type, status=status, headers={"Cache-Control": ALWAYS_ASK})
