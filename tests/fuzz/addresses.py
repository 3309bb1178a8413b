"""Addresses that try to reach our own network, and what becomes of them: in every spelling, by name, by redirect.

`attack` sends each through the guarded client. The resolver is a stub; sockets are real: whoever gets past the guard
arrives at a listener that stands for the inside and counts.
"""

from __future__ import annotations

import socket
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from core.errors import FetchBlocked, InvalidAddress
from core.net.http import GuardedClient
from core.net.ssrf_guard import Resolver, resolve_host
from core.net.urls import Address
from core.settings import FetchSettings
from tests import pictures

PUBLIC = "93.184.216.34"
NAMES = {
    "localhost.": ["127.0.0.1", "::1"],  # not every system resolver knows it with the dot
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "internal.example": ["10.1.2.3"],
    "metadata.google.internal": ["169.254.169.254"],
    "two-faced.example": [PUBLIC, "192.168.1.1"],
    "two-faced-v6.example": [PUBLIC, "fd00::1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "linklocal.example": ["fe80::1%2"],
    "shop.example": [PUBLIC],
    "shop6.example": ["2606:2800:220:1:248:1893:25c8:1946"],
    "nat64.example": ["64:ff9b::5db8:d822"],
    "nothing.example": [],
}

INSIDE = [
    # loopback: dotted, short, decimal, octal, hex, mixed, full-width, circled, ideographic dots
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7F.1",
    "0177.0.0.1", "017700000001", "0177.0x0.1", "127.0.0.1.", "１２７.０.０.１", "①②⑦.0.0.1", "127。0。0。1",
    "localhost", "LOCALHOST", "localhost.",
    # percent-encoded, and with characters that are mapped or dropped: soft hyphen, zero-width space, long s, variants
    "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "%6cocalhost", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1", "127．0｡0.1",
    "127\u00ad.0.0.1", "local\u00adhost", "local\u200bhost", "localho\u017ft", "ⓛocalhost", "127.0.0.1\ufe0f",
    "0\u00adx7f.1", "\ufeff127.0.0.1", "%E2%91%A0%E2%91%A1%E2%91%A6.1",
    # this host, private, shared, link-local and metadata, documentation, benchmarks, multicast, reserved, broadcast
    "0", "0.0.0.0", "0.1.2.3", "10.0.0.1", "012.0.0.1", "167772161", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "3232235521", "100.64.0.1", "100.100.100.200", "169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376",
    "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    # IPv6: loopback, unspecified, mapped, compatible, NAT64 and 6to4 and Teredo of private ones, ULA, local, multicast
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]",
    "[2002:a00:1::1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fc00::1]", "[fd00:ec2::254]", "[fd20:ce::254]",
    "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]",
    # names, as a resolver answers them
    "127.0.0.1.nip.example", "internal.example", "metadata.google.internal", "two-faced.example",
    "two-faced-v6.example", "mapped.example", "linklocal.example",
]  # fmt: skip

# Refused before any look-up, by their form.
FORMS = (
    "http://user@127.0.0.1/", "http://user:secret@shop.example/", "http://127.0.0.1@shop.example/",
    "http://shop.example:secret@127.0.0.1/", "file:///etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.1:6379/_",
    "ftp://127.0.0.1/", "data:image/png;base64,AAAA", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "jar:file:///x",
    "//127.0.0.1/", "http:127.0.0.1", "http:///127.0.0.1/", "http://[::1", "http://127.0.0.1:0/", "http://127.0.0.1:99999/",
    "http://127.0.0.1\\@shop.example/", "http://shop.example\\.127.0.0.1/", "http://127.0.0.1 .shop.example/",
    "http://shop.example\r\nHost: 127.0.0.1/", "http://[::1%25lo]/", "http://[fe80::1%2]/", "http://%31%32%37.0.0.1/", "http://％31.0.0.1/",
    "http://127.0.0.256/", "http://0x7f.0.0.0.1/", "http://-/", "upload://local/00/aa", "s3://127.0.0.1/../x",
)  # fmt: skip
# Blanks around an address are cut. In a redirect they belong to the path instead.
AROUND = (" {}", "{} ", "\t{}\r\n", "\ufeff{}", "\xa0{}\xa0", "\u200b{}\u200b", "\u3000{}")
# Refused with the address that was meant, which is not requested.
MEANT = (
    '"http://127.0.0.1/"', "<http://127.0.0.1/>", "127.0.0.1/latest/", "localhost:80/", "http:/127.0.0.1/",
    "http:\\\\127.0.0.1\\", "htp://127.0.0.1/", "http//127.0.0.1/", "http://http://127.0.0.1/", "view-source:http://127.0.0.1/",
    "gs://127.0.0.1/x", "blob:http://127.0.0.1/x", "javascript:fetch('http://127.0.0.1/')", "http://shop.example\t.127.0.0.1/",
    "http://127.0.0.1\n.shop.example/", "http://xn--127-.0.0.1/", "http://xn--/", "C:\\127.0.0.1\\x",
)  # fmt: skip
PORTS = (22, 25, 3306, 5432, 6379, 9200, 11211)
STATUSES = (301, 302, 303, 307, 308)


@dataclass
class Report:
    """`tried` addresses; those not `refused`, and how many connections the inside saw (`reached`)."""

    tried: int = 0
    not_refused: list[str] = field(default_factory=list)
    reached: int = 0
    fetched: int = 0


def forms() -> list[str]:
    """Every address that leads inside at once, in a request and in a redirect; `written` and rebinding come on top."""
    return [*(f"http://{host}/latest/" for host in INSIDE), *FORMS, *(f"http://{PUBLIC}:{port}/" for port in PORTS)]


def written() -> list[str]:
    """Addresses as people write and paste them."""
    return [*(around.format("http://127.0.0.1/latest/") for around in AROUND), *MEANT]


def absolute(addresses: list[str]) -> list[str]:
    """Those that name a host or another scheme: in a redirect the others stay on the server they came from."""
    return [text for text in addresses if not text.startswith(("http:///", "http:127"))]


def resolve(host: str, port: int) -> list[str]:
    """The stub's answer, else the system's."""
    return NAMES[host] if host in NAMES else resolve_host(host, port)


def attack() -> Report:
    """Try everything once. The public server and the inside are local; only `PUBLIC` leads to the first."""
    report = Report()
    with _public_server() as port, _inside(report) as inside:

        def connect(ip: str, _port: int, timeout_s: float) -> socket.socket:
            return socket.create_connection(("127.0.0.1", port if ip == PUBLIC else inside), timeout_s)

        client = GuardedClient(FetchSettings(allow_s3=()), resolve=_rebinding(), connect=connect)
        for address in forms() + written():
            _try(client, address, report)
        for number, address in enumerate(absolute(forms())):
            _try(client, _redirect(address, STATUSES[number % len(STATUSES)]), report)
        _try(client, _redirect(_redirect("http://127.0.0.1/", 302), 302), report)
        for _ in range(3):  # the first answer is public and may be fetched; every later one is not
            client.get("http://shop.example/good.jpg")
            report.fetched += 1
        client.get("http://rebind.example/good.jpg")
        _try(client, "http://rebind.example/good.jpg", report)
        client.close()
    return report


def _try(client: GuardedClient, address: str, report: Report) -> None:
    report.tried += 1
    try:
        client.get(str(Address.parse(address)))
    except (FetchBlocked, InvalidAddress):
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no refusal
        report.not_refused.append(f"{address}: {error!r}")
    else:
        report.not_refused.append(address)


def _redirect(address: str, status: int) -> str:
    return f"http://shop.example/{status}/{urllib.parse.quote(address, safe='')}"


def _rebinding() -> Resolver:
    """The stub, with one name that is public at its first look-up only."""
    answers = iter([[PUBLIC]])
    return lambda host, port: next(answers, ["127.0.0.1"]) if host == "rebind.example" else resolve(host, port)


@contextmanager
def _public_server() -> Iterator[int]:
    """Serves a picture, and under /STATUS/ADDRESS a redirect to the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, first, *rest = self.path.split("/", 2)
            if first.isdigit():
                self.send_response(int(first))
                # As sloppy servers send it: whatever bytes the address has, but for what would end the header.
                location = urllib.parse.unquote(rest[0]).replace("\r\n", "%0D%0A")
                self.send_header("Location", location.encode().decode("latin-1"))
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pictures.jpeg())

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def _inside(report: Report) -> Iterator[int]:
    """A listener that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        is_over = threading.Event()

        def count() -> None:
            while not is_over.is_set():
                try:
                    listener.accept()[0].close()
                    report.reached += 1
                except TimeoutError:
                    pass

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        is_over.set()
        thread.join()
