{% autoescape off %}#!/bin/sh
# Enrols this machine with Vigie. Run it again to renew the machine's token, or to replace one that no longer works.
# The enrolment token stands alone in a file, enrol.token unless another is named: curl reads its header from standard
# input, so that no token stands on a command line. The machine's own token is kept in token.json, where vigie-client
# finds it, readable by root alone; for an application under another account, `chmod 711` the folder and `chown` token.json
# to that account.
set -eu
umask 077
LC_ALL=C
export LC_ALL
token_file=${1:-enrol.token}
state=${VIGIE_STATE:-${VIGIE_STATE_DIR:-/var/lib/vigie}}
store=$state/token.json
mkdir -p "$state"
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The name that vigie-client and the other installers make of a host name too.
machine_name() { tr -cs 'A-Za-z0-9._' '-' | sed 's/^[._-]*//; s/-$//' | cut -c 1-128; }

# A token, or a text of flat JSON, in whatever encoding an editor left it.
token_in() { if [ -f "$1" ]; then tr -cd 'A-Za-z0-9_' < "$1"; fi; }
value_in() { if [ -f "$1" ]; then tr -d '\000' < "$1" | sed -n 's/.*"'"$2"'": *"\([^"]*\)".*/\1/p'; fi; }
printable() { tr -cd ' -~' | tr -d '"\\'; }

# Asks with the token $1 and the JSON members $2; prints the status.
ask() {
    printf 'Authorization: Bearer %s\n' "$1" |
        curl --silent --show-error --max-time 30 --output "$answer" --write-out '%{http_code}' \
            --header @- --header 'Content-Type: application/json' \
            --data "{$2\"hostname\": \"$(uname -n | printable)\", \"os_info\": \"$(uname -sr | printable)\"}" \
            '{{ enroll_url }}'
}

own=$(value_in "$store" api_token)
[ -n "$own" ] || own=$(token_in "$state/agent.token") # of an earlier version of this script
status=401
if [ -n "$own" ]; then status=$(ask "$own" ''); fi
if [ "$status" = 401 ] || [ "$status" = 403 ]; then
    token=$(token_in "$token_file")
    if [ -z "$token" ]; then
        echo "Not enrolled: there is no enrolment token in $token_file." >&2
        exit 1
    fi
    # The same id on every attempt: where an answer was lost, the portal then gives the token once more.
    [ -s "$state/enrollment_id" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$state/enrollment_id"
    enrollment_id=$(cat "$state/enrollment_id")
    machine_id=$(value_in "$store" machine_id)
    [ -n "$machine_id" ] || machine_id=$(uname -n | machine_name)
    [ -n "$machine_id" ] || machine_id=machine-$enrollment_id
    status=$(ask "$token" "\"machine_id\": \"$machine_id\", \"enrollment_id\": \"$enrollment_id\", ")
fi
if [ "$status" != 201 ]; then
    echo "Not enrolled, status $status $(value_in "$answer" code): $(value_in "$answer" detail)" >&2
    exit 1
fi

machine_id=$(value_in "$answer" machine_id)
api_token=$(value_in "$answer" api_token)
[ -n "$api_token" ]
rm -f "$store.new"
[ ! -f "$store" ] || cp -p "$store" "$store.new" # keeps its owner
printf '{"machine_id": "%s", "api_token": "%s"}\n' "$machine_id" "$api_token" > "$store.new"
mv "$store.new" "$store"
rm -f "$token_file" "$state/agent.token" "$state/enrollment_id"
echo "$machine_id is enrolled; its token is in $store."
{% endautoescape %}
