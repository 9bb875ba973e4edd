"""Which browsers are modern, by what they say they are."""

from __future__ import annotations

import pytest

from dddp.meteor.browsers import is_modern

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = f"Mozilla/5.0 (Linux; Android 13; SM-S901B) {WEBKIT}"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT}"


@pytest.mark.parametrize(
    "user_agent",
    [
        f"{WINDOWS} Chrome/120.0.0.0 Safari/537.36",
        f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/120.0.0.0 Safari/537.36",
        f"{WINDOWS} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0",
        f"{WINDOWS} Chrome/119.0.0.0 Safari/537.36 OPR/105.0.0.0",
        "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
        f"{SAFARI} Version/17.2 Safari/605.1.15",
        f"{IPHONE} Version/17.0 Mobile/15E148 Safari/604.1",
        f"{IPHONE} CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1",
        f"{ANDROID} SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
        f"{WINDOWS} shop/1.0 Chrome/118.0.5993.159 Electron/27.1.3 Safari/537.36",
    ],
)
def test_a_browser_of_today_is_modern(user_agent: str) -> None:
    assert is_modern(user_agent)


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        "curl/8.5.0",
        "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
        f"{WINDOWS} Chrome/64.0.3282.140 Safari/537.36 Edge/17.17134",
        f"{WINDOWS} Chrome/49.0.2623.112 Safari/537.36",
        "Mozilla/5.0 (Windows NT 6.1; rv:52.0) Gecko/20100101 Firefox/52.0",
        f"{SAFARI} Version/13.0 Safari/605.1.15",
        "Mozilla/5.0 (Linux; U; Android 4.0.3) AppleWebKit/534.30 (KHTML, like Gecko) Version/14.0 Mobile",
        f"{WINDOWS} Chrome/66.0.3359.181 Electron/3.1.13 Safari/537.36",
    ],
)
def test_an_old_or_unknown_browser_is_not(user_agent: str) -> None:
    assert not is_modern(user_agent)
