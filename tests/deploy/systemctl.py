"""Starts and stops services where systemd does not run, as their units say: a stand-in for `systemctl` in trials.

It gives the portal the user, environment, folders, read-only system and privileges of its unit. What only the kernel
can check with systemd's help, such as the filter of system calls, is left out.
"""

import os
import pwd
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STATE = Path("/run/services")
CADDY = Path("/var/lib/caddy")
LOCAL_AUTHORITY = "{\n\tlocal_certs\n\tskip_install_trust\n}\n"
SANDBOX = """
set -e
for folder in /var/lib/vigie /srv/vigie; do [ ! -d $folder ] || mount --bind $folder $folder; done
for folder in /tmp /home /root; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
mount -o remount,bind,ro /
cd /var/lib/vigie
exec setpriv --reuid vigie --regid vigie --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def read_unit(name: str) -> dict[str, list[str]]:
    entries: dict[str, list[str]] = {}
    for line in Path(f"/etc/systemd/system/{name}.service").read_text(encoding="utf-8").splitlines():
        key, is_entry, value = line.partition("=")
        if is_entry and not line.startswith("#"):
            entries.setdefault(key, []).append(value)
    return entries


def read_environment(path: str) -> dict[str, str]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return dict(pairs)


def start_vigie() -> int:
    unit = read_unit("vigie")
    user = pwd.getpwnam(unit["User"][0])
    state = Path("/var/lib") / unit["StateDirectory"][0]
    state.mkdir(mode=int(unit["StateDirectoryMode"][0], 8), exist_ok=True)
    os.chown(state, user.pw_uid, user.pw_gid)
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "USER": user.pw_name, "HOME": user.pw_dir}
    environment |= read_environment(unit["EnvironmentFile"][0])
    sandbox = ["unshare", "--mount", "sh", "-c", SANDBOX, "sandbox"]
    options: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "umask": int(unit["UMask"][0], 8)}
    with open("/var/log/vigie", "ab") as log:
        options |= {"stdout": subprocess.DEVNULL, "stderr": log}
        for before in unit["ExecStartPre"]:
            subprocess.run([*sandbox, *shlex.split(before)], check=True, **options)
        command = shlex.split(unit["ExecStart"][0])
        return subprocess.Popen([*sandbox, *command], start_new_session=True, **options).pid


def start_caddy() -> int:
    """Let an authority of its own sign the certificate, and trust that: no other can reach this system."""
    configuration = Path("/run/Caddyfile")
    configuration.write_text(LOCAL_AUTHORITY + Path("/etc/caddy/Caddyfile").read_text())
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(configuration)]
    environment = {"PATH": os.defpath, "HOME": str(CADDY), "XDG_DATA_HOME": str(CADDY)}
    with open("/var/log/caddy-trial", "ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    authority = CADDY / "caddy/pki/authorities/local/root.crt"
    while not authority.exists():
        time.sleep(0.1)
    Path("/usr/local/share/ca-certificates/caddy-trial.crt").write_bytes(authority.read_bytes())
    subprocess.run(["update-ca-certificates"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return process.pid


def start_postgresql() -> int:
    [cluster] = subprocess.run(
        ["pg_lsclusters", "-h"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    version, name, _, status = cluster.split()[:4]
    if status != "online":
        subprocess.run(["pg_ctlcluster", "--skip-systemctl-redirect", version, name, "start"], check=True)
    return 0


STARTS = {"vigie": start_vigie, "caddy": start_caddy, "postgresql": start_postgresql}


def running(name: str) -> int:
    """Return the process of a service, or 0."""
    file = STATE / name
    pid = int(file.read_text()) if file.exists() else 0
    return pid if pid and Path(f"/proc/{pid}/root").exists() else 0


def stop(name: str) -> None:
    if pid := running(name):
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}/root").exists():
            time.sleep(0.1)


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    verb, names = words[0] if words else "", [word.removesuffix(".service") for word in words[1:]]
    STATE.mkdir(exist_ok=True)
    for name in names if verb in ("start", "stop", "restart", "reload-or-restart") else []:
        if verb != "start":
            stop(name)
        if verb != "stop" and name in STARTS and not running(name):
            (STATE / name).write_text(str(STARTS[name]()))
    return int(verb == "is-active" and not all(running(name) for name in names))


if __name__ == "__main__":
    sys.exit(main())
