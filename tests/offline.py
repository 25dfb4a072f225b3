"""Runs the demo where every address is this machine's and every packet is seen; run by ``test_offline.py``.

In a network namespace of its own, whose loopback device answers for all addresses: whatever any code of the demo sends,
native code included, passes a packet socket here. Prints the packets that were not between the demo and its visitor, as
JSON.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from conftest import EXAMPLES, Visitor, until

ROOT = Path(__file__).parents[1]
LOOPBACK = 1  # index of the device
TRIAL = "192.0.2.1"  # an address for examples, to which nobody else sends anything


def bring_loopback_up() -> None:
    """Starts the loopback device, and has it take packets to any address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(control, 0x8913, request))  # SIOCGIFFLAGS
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", flags | 1))  # SIOCSIFFLAGS, IFF_UP
    for family in (socket.AF_INET, socket.AF_INET6):
        # RTM_NEWROUTE, acknowledged, created: a route of the type "local" to everywhere, in the table "local".
        attribute = struct.pack("HHi", 8, 4, LOOPBACK)  # RTA_OIF
        route = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 4, 254, 2, 0) + attribute
        header = struct.pack("IHHII", 16 + len(route), 24, 0x405, 1, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.sendall(header + route)
            (error,) = struct.unpack_from("i", netlink.recv(4096), 16)
        if error:
            raise OSError(-error, os.strerror(-error))


class Watch(threading.Thread):
    """Notes the destination of every packet: an address outside, or the port for questions about names."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))

    def run(self) -> None:
        while True:
            packet, address = self._packets.recvfrom(65536)
            if address[1] == 0x0800:
                header, target = 4 * (packet[0] & 15), socket.inet_ntop(socket.AF_INET, packet[16:20])
                source, protocol = socket.inet_ntop(socket.AF_INET, packet[12:16]), packet[9]
                is_inside = target.startswith("127.") and source.startswith("127.")
            elif address[1] == 0x86DD:
                header, target = 40, socket.inet_ntop(socket.AF_INET6, packet[24:40])
                protocol = packet[6]
                is_inside = target in ("::1", "::ffff:127.0.0.1") or target.startswith("ff02:")
            else:
                continue
            ports = struct.unpack_from("!HH", packet, header) if protocol in (6, 17) else (0, 0)
            if not is_inside or 53 in ports:
                self.seen.add(f"{target}:{ports[1]}")


def use_everything(visitor: Visitor) -> None:
    """What a visitor can do: the page, its files, a preview, a text alone, as a film, compared with another, a stop."""
    for path in ("/", "/config", "/theme.css", "/gradio_api/info", "/healthz", "/metrics"):
        visitor.get(path).raise_for_status()
    photo = visitor.upload(EXAMPLES / "astronaut.jpg")
    visitor.ask("look", [photo, 1, "mediapipe", "crop"])
    visitor.ask("say", ["Hello there."])
    described = visitor.get("/gradio_api/info").json()["named_endpoints"]
    for endpoint in ("animate", "compare"):
        parameters = described[f"/{endpoint}"]["parameters"]
        values = {parameter["parameter_name"]: parameter["parameter_default"] for parameter in parameters}
        values |= {"photo": photo, "text": "Hello!"}
        values |= {"look_inside": True} if endpoint == "animate" else {}
        result = visitor.ask(endpoint, list(values.values()))
        video = result[0].get("video", result[0])
        assert visitor.get(f"/gradio_api/file={video['path']}").content[4:8] == b"ftyp"
    visitor.ask("stop", [])


def main() -> None:
    bring_loopback_up()
    watch = Watch()
    watch.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.sendto(b"?", (TRIAL, 9))
    until(lambda: f"{TRIAL}:9" in watch.seen)  # it does see packets
    command = [sys.executable, "app.py", "--port", "7860", "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert "Running on" in program.stdout.readline()
            with Visitor("http://127.0.0.1:7860") as visitor:
                use_everything(visitor)
        finally:
            program.terminate()
    print(json.dumps(sorted(target for target in watch.seen if not target.startswith(f"{TRIAL}:"))))


if __name__ == "__main__":
    main()
