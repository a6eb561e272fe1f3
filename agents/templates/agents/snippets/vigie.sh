{% autoescape off %}#!/bin/sh
# Connects this machine to the Vigie portal at {{ portal_url }}. Run it as root:
#
#   sh vigie.sh enrol [TOKEN_FILE]    enrols it, or renews and repairs an enrolment; schedules heartbeats by cron
#   sh vigie.sh heartbeat             reports that it is online
#   sh vigie.sh uninstall             reports that it was uninstalled; deletes its token and schedule, always
#
# The enrolment token is alone in a file, by default enrol.token in the current folder. curl, 7.55 or later, reads its
# header from standard input, so no token is on a command line. The machine's own token is kept in token.json, where
# vigie-client finds it, readable by root only. For an application under another account, `chmod 711` the folder and
# `chown` token.json to that account. VIGIE_STATE names another folder than /var/lib/vigie-client.
# Heartbeats use the proxy of the environment (HTTPS_PROXY, NO_PROXY) in which enrol ran.
set -eu
umask 077
LC_ALL=C
export LC_ALL
portal='{{ portal_url }}'
state=${VIGIE_STATE:-${VIGIE_STATE_DIR:-/var/lib/vigie-client}}
case $state in /*) ;; *) state=$PWD/$state ;; esac
former=/var/lib/vigie # of earlier versions; on the portal's own server the portal's account owns it
store=$state/token.json
schedule=${VIGIE_CRON:-/etc/cron.d}/vigie
answer=$(mktemp || echo /dev/null)
trap '[ "$answer" = /dev/null ] || rm -f "$answer"' EXIT

# The name that vigie-client and the other installers derive from a host name.
machine_name() { tr -cs 'A-Za-z0-9._' '-' | sed 's/^[._-]*//; s/-$//' | cut -c 1-128; }

# Reads a token, or a text of flat JSON, in any encoding of an editor.
token_in() { if [ -f "$1" ]; then tr -cd 'A-Za-z0-9_' < "$1"; fi; }
value_in() { if [ -f "$1" ]; then tr -d '\000' < "$1" | sed -n 's/.*"'"$2"'": *"\([^"]*\)".*/\1/p'; fi; }
printable() { tr -cd ' -~' | tr -d '"\\'; }
own_token() {
    own=$(value_in "$store" api_token)
    [ -n "$own" ] || own=$(token_in "$state/agent.token") # of an earlier version of this script
    echo "$own"
}
# True if the folder is there and no other account owns it or may write to it.
is_safe() {
    [ -d "$1" ] && [ -z "$(find -H "$1" -prune \( ! -user "$(id -u)" -o -perm -020 -o -perm -002 \))" ]
}
move_former() {
    if [ "$state" != /var/lib/vigie-client ] || [ -f "$store" ] || ! is_safe "$former"; then return; fi
    for kept in token.json agent.token enrollment_id; do
        [ ! -f "$former/$kept" ] || mv "$former/$kept" "$state/"
    done
    [ -z "$(find -H "$former" -prune -perm -001)" ] || chmod 711 "$state" # for an application's account
    rm -f "$former/vigie.sh" "$former/heartbeat.log"
    rmdir "$former" 2> /dev/null || true
    # Even if the portal is away now, heartbeats go on.
    if [ -f "$schedule" ]; then schedule_heartbeats; fi
}
describe() { printf '"hostname": "%s", "os_info": "%s"' "$(uname -n | printable)" "$(uname -sr | printable)"; }

# Sends to the path $1, with the token $2, the JSON members $3, for at most $4 seconds; prints the status.
post() {
    printf 'Authorization: Bearer %s\n' "$2" |
        curl --silent --show-error --max-time "$4" --output "$answer" --write-out '%{http_code}' \
            --header @- --header 'Content-Type: application/json' --data "{$3}" "$portal/api/v1/agents/$1" || true
}
fail() {
    echo "$1, status $2 $(value_in "$answer" code): $(value_in "$answer" detail)" >&2
    exit 1
}

has_cron() { (PATH=$PATH:/usr/sbin:/sbin && { command -v cron || command -v crond; }) > /dev/null; }

# Each machine has a minute of its own, so that not all call at once. The log has the last heartbeat only. A proxy's
# address may hold a password, so only root may read the schedule.
schedule_heartbeats() {
    if [ ! -f "$0" ] || [ ! -w "${schedule%/*}" ] || ! has_cron; then
        echo "Heartbeats are not scheduled: run 'sh vigie.sh heartbeat' every {{ minutes }} minutes, as root." >&2
        return
    fi
    cp "$0" "$state/vigie.sh.new"
    mv "$state/vigie.sh.new" "$state/vigie.sh"
    minute=$(($(od -An -N1 -tu1 /dev/urandom) % {{ minutes }}))
    proxies=$(env | grep -E '^(http_proxy|(https|all|no)_proxy|(HTTPS|ALL|NO)_PROXY)=.' || true)
    rm -f "$schedule"
    cat > "$schedule" <<CRON
# Heartbeats of this machine to $portal, by vigie.sh.
$proxies
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
$minute-59/{{ minutes }} * * * * root VIGIE_STATE='$state' sh '$state/vigie.sh' heartbeat > '$state/heartbeat.log' 2>&1
CRON
}

enrol() {
    token_file=${1:-enrol.token}
    if [ "$answer" = /dev/null ]; then
        echo "Not enrolled: there is no folder for temporary files." >&2
        exit 1
    fi
    mkdir -p "$state"
    # cron runs the script in this folder as root.
    if ! is_safe "$state"; then
        echo "Not enrolled: another account owns $state or may write to it." >&2
        exit 1
    fi
    move_former
    own=$(own_token)
    status=401
    if [ -n "$own" ]; then status=$(post enroll "$own" "$(describe)" 30); fi
    if [ "$status" = 401 ] || [ "$status" = 403 ]; then
        token=$(token_in "$token_file")
        if [ -z "$token" ]; then
            echo "Not enrolled: there is no enrolment token in $token_file." >&2
            exit 1
        fi
        # The same id on every attempt: if an answer was lost, the portal then gives the token once more.
        [ -s "$state/enrollment_id" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$state/enrollment_id"
        enrollment_id=$(cat "$state/enrollment_id")
        machine_id=$(value_in "$store" machine_id)
        [ -n "$machine_id" ] || machine_id=$(uname -n | machine_name)
        [ -n "$machine_id" ] || machine_id=machine-$enrollment_id
        name="\"machine_id\": \"$machine_id\", \"enrollment_id\": \"$enrollment_id\""
        status=$(post enroll "$token" "$name, $(describe)" 30)
    fi
    [ "$status" = 201 ] || fail 'Not enrolled' "$status"
    machine_id=$(value_in "$answer" machine_id)
    api_token=$(value_in "$answer" api_token)
    [ -n "$api_token" ]
    rm -f "$store.new"
    [ ! -f "$store" ] || cp -p "$store" "$store.new" # keeps its owner
    printf '{"machine_id": "%s", "api_token": "%s"}\n' "$machine_id" "$api_token" > "$store.new"
    mv "$store.new" "$store"
    rm -f "$token_file" "$state/agent.token" "$state/enrollment_id"
    echo "$machine_id is enrolled; its token is in $store."
    schedule_heartbeats
}

heartbeat() {
    own=$(own_token)
    if [ -z "$own" ]; then
        echo "Not enrolled: there is no token in $store." >&2
        exit 1
    fi
    status=$(post heartbeat "$own" "$(describe)" 30)
    [ "$status" = 200 ] || fail 'No heartbeat' "$status"
    echo 'The portal has the heartbeat.'
}

# A portal that is away or refuses never keeps the machine from being uninstalled.
uninstall() {
    set +e # each step is tried, whatever fails
    mkdir -p "$state" && move_former
    own=$(own_token)
    status=none
    if [ -n "$own" ]; then status=$(post uninstall "$own" '"reason": "uninstalled"' 5); fi
    rm -f "$schedule" "$store" "$store.new" "$state/agent.token" "$state/enrollment_id" "$state/vigie.sh" \
        "$state/vigie.sh.new" "$state/heartbeat.log"
    rmdir "$state" 2> /dev/null
    if [ "$status" = 200 ]; then echo 'Uninstalled.'; else echo "Uninstalled; the portal was not notified."; fi
    return 0
}

command=${1:-enrol}
case $command in
    enrol | heartbeat | uninstall) shift $(($# > 0)) && "$command" "$@" ;;
    *) echo "Usage: sh vigie.sh enrol [TOKEN_FILE] | heartbeat | uninstall" >&2 && exit 2 ;;
esac
{% endautoescape %}
