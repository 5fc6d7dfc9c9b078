"""A little home router that speaks UPnP: the foreign party of port mapping. SSDP by UDP multicast, then HTTP and SOAP.

``python -m tests.p2p.router HOST OUTSIDE KIND``; prints ``ready``, then each mapping it makes or removes. KIND:

    good        maps what it is asked for
    permanent   knows only lasting mappings (error 725)
    taken       refuses the first port (718)
    refusing    refuses everything (606)
    silent      answers nothing after being found
    garbage     answers everything with junk
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
DESCRIPTION = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>{DEVICE}</deviceType><friendlyName>router</friendlyName><manufacturer>test</manufacturer>
<modelName>test</modelName><UDN>uuid:1</UDN><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><friendlyName>w</friendlyName>
<manufacturer>test</manufacturer><modelName>test</modelName><UDN>uuid:2</UDN>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<serviceId>urn:upnp-org:serviceId:WANCommonIFC1</serviceId><controlURL>/common</controlURL>
<eventSubURL>/e</eventSubURL><SCPDURL>/c.xml</SCPDURL></service></serviceList>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>
<friendlyName>c</friendlyName><manufacturer>test</manufacturer><modelName>test</modelName><UDN>uuid:3</UDN>
<serviceList><service><serviceType>{SERVICE}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<controlURL>/control</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/s.xml</SCPDURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>"""


def envelope(action: str, body: str) -> str:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action}Response xmlns:u="{SERVICE}">{body}</u:{action}Response></s:Body></s:Envelope>'
    )


def fault(code: int) -> str:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
        "<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode>'
        "<errorDescription>no</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>"
    )


class Router(BaseHTTPRequestHandler):
    outside = ""
    kind = ""
    asked = 0

    def log_message(self, *_: Any) -> None:
        """Standard error is for faults."""

    def do_GET(self) -> None:
        if self.kind == "silent":
            time.sleep(60)
        self.answer(200, "\0<junk" * 50_000 if self.kind == "garbage" else DESCRIPTION)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = self.headers["SOAPAction"].strip('"').split("#")[1]
        if self.kind == "garbage":
            self.answer(200, "<" * 100_000)
        elif action == "GetStatusInfo":
            status = "<NewConnectionStatus>Connected</NewConnectionStatus><NewLastConnectionError>ERROR_NONE"
            self.answer(200, envelope(action, f"{status}</NewLastConnectionError><NewUptime>9</NewUptime>"))
        elif action == "GetExternalIPAddress":
            self.answer(200, envelope(action, f"<NewExternalIPAddress>{self.outside}</NewExternalIPAddress>"))
        elif action == "AddPortMapping":
            self.add(action, body)
        elif action == "DeletePortMapping":
            print("removed", value(body, "NewExternalPort"), flush=True)
            self.answer(200, envelope(action, ""))
        else:
            self.answer(500, fault(401))

    def add(self, action: str, body: str) -> None:
        Router.asked += 1
        lease = value(body, "NewLeaseDuration")
        refused = {"refusing": 606, "permanent": 725 if lease != "0" else 0, "taken": 718 if Router.asked <= 2 else 0}
        if refused.get(self.kind):
            self.answer(500, fault(refused[self.kind]))
            return
        fields = ("NewExternalPort", "NewInternalClient", "NewInternalPort", "NewProtocol", "NewLeaseDuration")
        print("mapped", *(value(body, field) for field in fields), flush=True)
        self.answer(200, envelope(action, ""))

    def answer(self, status: int, text: str) -> None:
        octets = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)


def value(body: str, field: str) -> str:
    found = re.search(rf"<{field}[^>]*>([^<]*)<", body)
    return found[1] if found else ""


def announce(host: str, port: int) -> None:
    """Answers searches for a router."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", 1900))
        group = struct.pack("4s4s", socket.inet_aton("239.255.255.250"), socket.inet_aton(host))
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        print("ready", flush=True)
        while True:
            search, asker = listener.recvfrom(2_000)
            if b"M-SEARCH" in search and b"InternetGatewayDevice:1" in search:
                answer = (
                    f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {DEVICE}\r\nUSN: uuid:1::{DEVICE}\r\n"
                    f"EXT:\r\nSERVER: test UPnP/1.0\r\nLOCATION: http://{host}:{port}/d.xml\r\n\r\n"
                )
                listener.sendto(answer.encode(), asker)


def main(host: str, outside: str, kind: str) -> None:
    Router.outside, Router.kind = outside, kind
    server = ThreadingHTTPServer((host, 0), Router)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    announce(host, server.server_address[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
