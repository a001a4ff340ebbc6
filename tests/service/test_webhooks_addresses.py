import pytest

from service.webhooks.addresses import Target, WebhookUrlError, admit_url, find_address_fault

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2001:0:1:2:3:4:5:6",
]
NOWHERE = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"]
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_unless_it_is_allowed(address: str) -> None:
    assert find_address_fault([address], "https", False) == "the host has a private address"
    assert find_address_fault([address], "https", True) is None
    assert find_address_fault([address], "http", True) is None


@pytest.mark.parametrize("address", NOWHERE)
def test_an_address_of_no_single_machine_is_always_refused(address: str) -> None:
    assert find_address_fault([address], "https", False)
    assert find_address_fault([address], "https", True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached_by_tls_alone(address: str) -> None:
    assert find_address_fault([address], "https", False) is None
    assert find_address_fault([address], "https", True) is None
    assert find_address_fault([address], "http", True) == "plain http is for private addresses only"


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    assert find_address_fault(["8.8.8.8", "10.0.0.1"], "https", False) == "the host has a private address"
    assert find_address_fault(["10.0.0.1", "8.8.8.8"], "http", True) == "plain http is for private addresses only"
    assert find_address_fault([], "https", True) == "the host has no address"
    assert find_address_fault(["hooks.test"], "https", True) == "the host has no address"


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://hooks.test", Target("https", "hooks.test", 443, "/"), "hooks.test"),
        ("HTTPS://Hooks.Test:8443/A/b?c=d&e", Target("https", "hooks.test", 8443, "/A/b?c=d&e"), "hooks.test:8443"),
        ("http://10.0.0.1:80/%20x", Target("http", "10.0.0.1", 80, "/%20x"), "10.0.0.1"),
        ("https://[2606:4700::1111]:443?q", Target("https", "2606:4700::1111", 443, "/?q"), "[2606:4700::1111]"),
        ("https://xn--e1aybc.test./", Target("https", "xn--e1aybc.test.", 443, "/"), "xn--e1aybc.test."),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target, authority: str) -> None:
    assert (Target.from_url(url), Target.from_url(url).authority) == (target, authority)


BAD_URLS = [
    "",
    "SECRETWORD",
    "//hooks.test/SECRETWORD",
    "ftp://hooks.test/SECRETWORD",
    "file:///etc/passwd",
    "https://",
    "https:///SECRETWORD",
    "https://user@hooks.test/SECRETWORD",
    "https://user:SECRETWORD@hooks.test/",
    "https://@hooks.test/SECRETWORD",
    "https://hooks.test\\@10.0.0.1/SECRETWORD",
    "https://hooks.test/#SECRETWORD",
    "https://hooks.test/a b",
    "https://hooks.test/\r\nSECRETWORD: 1",
    "https://hooks.test/\tSECRETWORD",
    "https://гачок.test/SECRETWORD",
    "https://hooks.test:0/SECRETWORD",
    "https://hooks.test:65536/SECRETWORD",
    "https://hooks.test:SECRETWORD/",
    "https://hooks..test/SECRETWORD",
    "https://.hooks.test/SECRETWORD",
    "https://hooks.test%00/SECRETWORD",
    "https://[::1/SECRETWORD",
    "https://[fe80::1%25eth0]/SECRETWORD",
    "https://[SECRETWORD]/",
    f"https://{'a' * 64}.test/SECRETWORD",
    "https://hooks.test/" + "a" * 2_000,
]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("allow_private", [False, True])
def test_a_url_of_a_bad_form_is_refused_and_not_repeated(url: str, allow_private: bool) -> None:
    with pytest.raises(WebhookUrlError) as caught:
        admit_url(url, allow_private=allow_private)
    assert "SECRETWORD" not in str(caught.value)


@pytest.mark.parametrize(
    "host", [*(h for h in PRIVATE + NOWHERE if ":" not in h), "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0"]
)
def test_a_private_address_is_recognised_however_it_is_written(host: str) -> None:
    with pytest.raises(WebhookUrlError, match="the host has"):
        admit_url(f"https://{host}/", allow_private=False)


def test_a_url_is_admitted_by_what_is_known_before_its_name_is_resolved() -> None:
    admit_url("https://hooks.test/a?token=b", allow_private=False)
    admit_url("https://8.8.8.8:8443/", allow_private=False)
    admit_url("http://127.0.0.1:9000/", allow_private=True)
    admit_url("http://hooks.test/", allow_private=True)
    with pytest.raises(WebhookUrlError, match="https://"):
        admit_url("http://hooks.test/", allow_private=False)
    with pytest.raises(WebhookUrlError, match="plain http"):
        admit_url("http://8.8.8.8/", allow_private=True)
    with pytest.raises(WebhookUrlError, match="private"):
        admit_url("https://[::ffff:127.0.0.1]/", allow_private=False)
