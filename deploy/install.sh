#!/usr/bin/env bash
# Installs Vigie as a service on Debian 12 and 13 and Ubuntu 24.04, from the checkout or release that this file is in.
# Run it again to upgrade: it changes only what is not there yet or is of another version. `--help` lists the options.
set -euo pipefail
umask 022

usage() {
  cat <<'TEXT'
Usage: sudo deploy/install.sh [--domain NAME] [--postgresql] [--empty] [--python PATH]

Installs or upgrades the portal as the service "vigie", which listens on 127.0.0.1:8000.

  --domain NAME   install Caddy too, which serves https://NAME and gets the certificate; NAME must lead to this server
  --postgresql    install PostgreSQL too, and use it instead of SQLite; only for a new installation
  --empty         prepare no data and start nothing, so that "vigie restore_portal" can fill the new portal
  --python PATH   Python 3.11 to 3.14 to use instead of the system's python3
  --help          show this text

  /opt/vigie/current          the installed version; the version before it is kept beside it
  /etc/vigie/vigie.env        settings; created once, then yours
  /var/lib/vigie              data
  /usr/local/bin/vigie        runs a command with the service's user and settings: sudo vigie doctor
TEXT
}

say() { printf '== %s\n' "$*"; }
refuse() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

domain='' postgresql='' is_empty='' user_python=''
while [ $# -gt 0 ]; do
  case $1 in
    --domain) domain=${2:-}; shift
      [[ $domain =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$ ]] \
        || refuse "--domain needs a host name in lower case, such as vigie.example.org." ;;
    --postgresql) postgresql=yes ;;
    --empty) is_empty=yes ;;
    --python) user_python=${2:-}; shift ;;
    --help) usage; exit ;;
    *) usage >&2; refuse "$1 is not an option." ;;
  esac
  shift || refuse "The last option needs a value."
done

source=$(cd "$(dirname "$0")/.." && pwd)
home=/opt/vigie settings=/etc/vigie/vigie.env data=/var/lib/vigie
local_database="DATABASE_URL=postgresql://vigie:@/vigie?host=/run/postgresql"

# --- Refuse before anything is changed ---------------------------------------------------------------------------------

[ -f "$source/requirements.txt" ] || refuse "$source is not a checkout or release of Vigie."
[ "$(id -u)" = 0 ] || refuse "Run it as root: sudo deploy/install.sh"
# shellcheck source=/dev/null
. /etc/os-release
case "$ID $VERSION_ID" in
  "debian 12" | "debian 13" | "ubuntu 24.04") ;;
  "ubuntu 22.04") [ -n "$user_python" ] || refuse "Ubuntu 22.04 has Python 3.10, and Vigie needs 3.11 to 3.14." \
    "Upgrade to Ubuntu 24.04, use deploy/compose.yaml, or name another Python by --python." ;;
  *) refuse "It supports Debian 12 and 13 and Ubuntu 22.04 and 24.04, not $PRETTY_NAME. docs/install.md has other ways." ;;
esac
if [ -n "$postgresql" ] && [ -f "$settings" ] && ! grep -q '^DATABASE_URL=postgres' "$settings"; then
  refuse "The portal has its data in SQLite. To move it, follow \"Restore the portal\" in docs/operations.md."
fi
# Settings of another server may have been copied here, to restore its portal.
if grep -qs "^$local_database" "$settings"; then postgresql=yes; fi
is_active() { [ -d /run/systemd/system ] && systemctl is-active --quiet "$1"; }
if [ -n "$domain" ] && grep -qs '^PORTAL_URL=' "$settings" && ! grep -qx "PORTAL_URL=https://$domain" "$settings"; then
  refuse "$settings has another PORTAL_URL. Change it there first."
fi
if [ -n "$is_empty" ] && [ -d "$data/secrets" ]; then
  refuse "The portal has data in $data. Move it away first, or leave out --empty."
fi
caddyfile=/etc/caddy/Caddyfile
caddyfile_mark="# deploy/install.sh --domain writes this file again. To change it yourself, delete this line."
write_caddyfile() {
  sed -e "s/{\$VIGIE_DOMAIN}/$domain/" -e "s/{\$VIGIE_PORTAL}/127.0.0.1:8000/" "$source/deploy/Caddyfile"
}
is_packaged() { # the file is as its package brought it
  dpkg-query --show --showformat='${Conffiles}\n' "$2" 2>/dev/null \
    | grep -qF " $1 $(md5sum "$1" | cut -d ' ' -f 1)"
}
if [ -n "$domain" ] && [ -f $caddyfile ] && [ "$(head -n 1 $caddyfile)" != "$caddyfile_mark" ] \
  && ! is_packaged $caddyfile caddy; then
  write_caddyfile >&2
  refuse "$caddyfile may serve other sites, so it stays as it is. Add the lines above to it, leave out --domain," \
    "and set PORTAL_URL=https://$domain, HTTPS=on and TRUSTED_PROXIES=127.0.0.1 in $settings."
fi
if [ -n "$domain" ] && ! is_active caddy; then
  for port in 80 443; do
    if (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      refuse "Another program listens on port $port. Leave out --domain, and see deploy/nginx.conf."
    fi
  done
fi

# --- Packages and user -------------------------------------------------------------------------------------------------

packages=()
[ -n "$user_python" ] || packages+=(python3-venv)
[ -z "$postgresql" ] || [ -S /run/postgresql/.s.PGSQL.5432 ] || packages+=(postgresql)
[ -z "$domain" ] || packages+=(caddy)
is_installed() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=()
for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
if [ ${#missing[@]} != 0 ]; then
  say "Installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
python=${user_python:-/usr/bin/python3}
"$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
  || refuse "$python is not Python 3.11 to 3.14 with its venv module."

getent passwd vigie >/dev/null \
  || useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin vigie
install -d -m 0750 -o root -g vigie /etc/vigie
install -d -m 0700 -o vigie -g vigie "$data"

# --- The program: each version in a folder of its own, so that a running portal keeps its files ------------------------

# It stays from the first change that only a restart applies until the restart, even if a step in between fails.
pending="$home/restart-pending"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
tar -C "$source" --exclude=./.git --exclude=./.venv --exclude=./var --exclude=__pycache__ --exclude='*.egg-info' \
  --exclude=./build --exclude=./dist --exclude='./.*_cache' --exclude=./.hypothesis -cf - . | tar -C "$work/source" -xf -
sum=$( (cd "$work/source" && find . -type f -print0 | sort -z | xargs -0 sha256sum; "$python" -VV) | sha256sum)
release="$home/releases/${sum:0:12}"
if [ ! -f "$release/complete" ]; then
  say "Installing the portal into $release"
  rm -rf "$release"
  "$python" -m venv "$release"
  pip=("$release/bin/python" -m pip --quiet --disable-pip-version-check install)
  "${pip[@]}" --require-hashes -r "$source/requirements.txt"
  "${pip[@]}" --no-deps --no-build-isolation "$work/source"
  touch "$release/complete"
fi

# --- Settings and database ---------------------------------------------------------------------------------------------

if [ ! -f "$settings" ]; then
  say "Writing $settings"
  {
    echo "# Settings of the portal, one NAME=value a line, without quotes. docs/settings.md lists them all."
    echo "# After a change: systemctl restart vigie"
    echo "VIGIE_DATA_DIR=$data"
    [ -z "$postgresql" ] || echo "$local_database"
    echo "#EMAIL_URL=smtp+tls://user:password@mail.example.org:587"
    echo "#DEFAULT_FROM_EMAIL=vigie@example.org"
    echo "#TIME_ZONE=Europe/Paris"
  } >"$work/vigie.env"
  install -m 0640 "$work/vigie.env" "$settings"
fi
chown root:vigie "$settings" # also one that was copied from another server
chmod 0640 "$settings"
if [ -n "$domain" ]; then
  for line in "PORTAL_URL=https://$domain" HTTPS=on TRUSTED_PROXIES=127.0.0.1; do
    grep -q "^${line%%=*}=" "$settings" || { touch "$pending"; sed -i "\$a $line" "$settings"; }
  done
fi

if [ -n "$postgresql" ]; then
  service postgresql start >/dev/null
  psql() { (cd / && runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align "$@"); }
  # The user vigie of this machine signs in as the role vigie, without a password (peer authentication).
  [ -n "$(psql -c "SELECT 1 FROM pg_roles WHERE rolname = 'vigie'")" ] || psql -c "CREATE ROLE vigie LOGIN"
  [ -n "$(psql -c "SELECT 1 FROM pg_database WHERE datname = 'vigie'")" ] \
    || psql -c "CREATE DATABASE vigie OWNER vigie ENCODING 'UTF8' TEMPLATE template0"
fi

install -m 0755 "$source/deploy/vigie" /usr/local/bin/vigie

# --- Prepare with the new version, while the former one still serves; then switch to it --------------------------------

former=$(readlink "$home/current" || true)
if [ -z "$is_empty" ]; then
  say "Preparing the portal"
  VIGIE_RELEASE="$release" /usr/local/bin/vigie prepare --verbosity 0 >/dev/null
fi
[ "$former" = "$release" ] || touch "$pending"
ln -sfn "$release" "$home/current.new"
mv -T "$home/current.new" "$home/current"
[ "$former" = "$release" ] || [ -z "$former" ] || ln -sfn "$former" "$home/previous"
for folder in "$home"/releases/*; do
  [ "$folder" = "$release" ] || [ "$folder" = "$(readlink "$home/previous" || true)" ] || rm -rf "$folder"
done

unit=/etc/systemd/system/vigie.service
cmp -s "$source/deploy/vigie.service" $unit \
  || { touch "$pending"; install -D -m 0644 "$source/deploy/vigie.service" $unit; }
if [ -n "$domain" ]; then
  { echo "$caddyfile_mark"; write_caddyfile; } >"$work/Caddyfile"
  cmp -s "$work/Caddyfile" $caddyfile || install -m 0644 "$work/Caddyfile" $caddyfile
fi

password_file="$data/secrets/operator_password"
sign_in() {
  local address
  address=$(sed -n 's/^PORTAL_URL=//p' "$settings")
  echo
  echo "Address:  ${address:-http://127.0.0.1:8000}"
  [ ! -f "$password_file" ] || printf 'User:     operator\nPassword: %s\n' "$(cat "$password_file")"
}

if [ ! -d /run/systemd/system ]; then
  say "systemd is not running here: start the portal as $unit says."
  sign_in
  exit
fi
systemctl daemon-reload
[ -z "$domain" ] || systemctl reload-or-restart caddy
if [ -n "$is_empty" ]; then
  say "Installed. Fill it by \"sudo vigie restore_portal\", then run this script again without --empty."
  exit
fi
systemctl enable --quiet vigie
say "Starting the portal (tasks that run may end first)"
if [ -e "$pending" ] || ! is_active vigie; then systemctl restart vigie; fi
rm -f "$pending"
for _ in $(seq 60); do
  "$python" -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:8000/readyz", timeout=5)' 2>/dev/null && break
  sleep 1
done
say "Checking the installation (vigie doctor)"
/usr/local/bin/vigie doctor || failed=yes
sign_in
[ -z "${failed:-}" ] || refuse "The portal is installed. Fix what doctor names, then run \"sudo vigie doctor\" again."
