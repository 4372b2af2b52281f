"""pipe.py PORT: joins what QEMU gives as stdin and stdout to a port of this machine's loopback."""

import os
import select
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(server, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            data = os.read(fd, 1 << 18)
            if not data:
                sys.exit(0)
            if fd == 0:
                server.sendall(data)
            while fd != 0 and data:
                data = data[os.write(1, data):]
