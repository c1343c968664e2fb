#!/usr/bin/env bash
# What an operator of nwaku does over REST, with curl alone: looks at the node, calls a peer, publishes, polls, asks for history.
#
#     rest.sh URL MULTIADDR CONTENT_TOPIC
#
# URL: REST of a node started with --rest-admin=true --version-string=v0.37.0 and without a store. MULTIADDR: a peer to call. Says
# "published" when its message is out, and ends with 0 once it has polled one that says "from the peer".
set -euo pipefail

url=$1 peer=$2 topic=$3
# "from a script" and "from the peer", in base64.
ours=ZnJvbSBhIHNjcmlwdA== theirs=ZnJvbSB0aGUgcGVlcg==

fail() { echo "$1" >&2; exit 1; }
encode() { printf '%s' "$1" | sed 's|%|%25|g; s|/|%2F|g'; }
get() { curl --silent --show-error --fail --max-time 10 "$url$1"; }
status() { curl --silent --output /dev/null --write-out '%{http_code}' --max-time 10 "$@"; }
send() { curl --silent --show-error --fail --max-time 20 -X "$1" -H 'Content-Type: application/json' -d "$3" "$url$2"; }

for _ in $(seq 300); do
    if get /health | grep -q '"nodeHealth":"READY"'; then break; fi
    sleep 0.2
done
get /health | grep -q '"nodeHealth":"READY"' || fail "not READY: $(get /health)"
get /version | grep -Eq '^v0\.3[5-9]' || fail "version: $(get /version)"
addresses=$(get /debug/v1/info)
grep -q '/ws/p2p/16Uiu2' <<< "$addresses" || fail "no WebSocket address: $addresses"
grep -q '"enrUri":"enr:' <<< "$addresses" || fail "no record: $addresses"

[ "$(send POST /admin/v1/peers "[\"$peer\"]")" = OK ] || fail "the peer was not called"
get "/admin/v1/peer/${peer##*/}" | grep -q '"connected":"Connected"' || fail "not connected: $(get /admin/v1/peers)"
for _ in $(seq 300); do
    if get /admin/v1/peers/mesh/on/0 | grep -q "${peer##*/}"; then break; fi
    sleep 0.2
done
get /admin/v1/peers/mesh/on/0 | grep -q "${peer##*/}" || fail "not in the mesh: $(get /admin/v1/peers)"
get /admin/v1/peers/stats | grep -q '"Total peers":1' || fail "stats: $(get /admin/v1/peers/stats)"

[ "$(send POST /relay/v1/auto/subscriptions "[\"$topic\"]")" = OK ] || fail "not subscribed"
# waku-simulator strips the padding.
[ "$(send POST /relay/v1/auto/messages "{\"payload\":\"${ours%%=*}\",\"contentTopic\":\"$topic\"}")" = OK ] || fail "not published"
get "/relay/v1/auto/messages/$(encode "$topic")" | grep -q "\"payload\":\"$ours\"" || fail "what is published here is not polled here"
echo '"published"'
for _ in $(seq 300); do
    polled=$(get "/relay/v1/messages/$(encode /waku/2/rs/0/0)")
    if grep -q "\"payload\":\"$theirs\"" <<< "$polled"; then break; fi
    sleep 0.2
done
grep -q "\"payload\":\"$theirs\"" <<< "$polled" || fail "the peer's message was not polled: $polled"
[ "$(get "/relay/v1/messages/$(encode /waku/2/rs/0/0)")" = '[]' ] || fail "it was polled twice"

[ "$(status "$url/store/v3/messages?contentTopics=$(encode "$topic")&pageSize=5&ascending=true")" = 412 ] || fail "a store where none is"
[ "$(status "$url/store/v3/messages?hashes=0x1234")" = 400 ] || fail "a hash of two bytes"
[ "$(status -X POST "$url/admin/v1/log-level/DEBUG")" = 200 ] || fail "the level of the log stays"
[ "$(status "$url/nowhere")" = 400 ] || fail "a path that is none"
