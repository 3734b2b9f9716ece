"""The ranges of a server's settings."""

import pytest

from mobilevit_fast.serve.settings import ServerSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 70000}, "port"),
        ({"token": ""}, "token"),
        ({"token": "a b"}, "token"),
        ({"token": "a\nb"}, "token"),
        ({"token": "a\x00b"}, "token"),
        ({"token": "\u00e9"}, "token"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"request_timeout_s": 0}, "request_timeout_s"),
        ({"drain_s": -1}, "drain_s"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ServerSettings(**settings)
