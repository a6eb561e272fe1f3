{% autoescape off %}#!/bin/sh
# Enrols this machine with Vigie. The enrolment token stands alone in a file, enrol.token unless another is named:
# curl reads its header from standard input, so that the token stands on no command line.
set -eu
umask 077
token_file=${1:-enrol.token}
state=${VIGIE_STATE:-/var/lib/vigie}
mkdir -p "$state"

# The same id on every attempt: where an answer was lost, the portal then gives the token once more.
[ -s "$state/enrollment_id" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$state/enrollment_id"
machine_id=$(uname -n | tr -cd 'A-Za-z0-9._:-')

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
status=$(printf 'Authorization: Bearer %s\n' "$(tr -d ' \r\n' < "$token_file")" |
    curl --silent --show-error --max-time 30 --output "$answer" --write-out '%{http_code}' \
        --header @- --header 'Content-Type: application/json' \
        --data "{\"machine_id\": \"$machine_id\", \"hostname\": \"$machine_id\", \"os_info\": \"$(uname -sr)\", \"enrollment_id\": \"$(cat "$state/enrollment_id")\"}" \
        '{{ enroll_url }}')

if [ "$status" != 201 ]; then
    echo "Not enrolled, status $status: $(cat "$answer")" >&2
    exit 1
fi
sed -n 's/.*"api_token": *"\([A-Za-z0-9_]*\)".*/\1/p' "$answer" > "$state/agent.token"
[ -s "$state/agent.token" ]
rm -f "$token_file"
echo "$machine_id is enrolled; its token is in $state/agent.token."
{% endautoescape %}
