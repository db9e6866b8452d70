#!/bin/sh
# Waits until a commit of a set is everywhere: wait.sh NAMESPACE/SET COMMIT. Exit code 0: it is; 1: it failed, another commit
# is wanted now, or the hub refuses, which is printed; 2: nobody has answered for five minutes.
# Needs AXLETREE_API, AXLETREE_TOKEN, AXLETREE_CA and nothing but curl and sed.
set -eu
url="$AXLETREE_API/api/v1/applicationsets/$1/rollout?revision=$2&wait=60s&until=End"
silent=0
while :; do
  answer=$(printf 'header = "Authorization: Bearer %s"\n' "$AXLETREE_TOKEN" |
    curl --silent --show-error --max-time 90 --cacert "$AXLETREE_CA" --config - "$url") || answer=
  case $answer in
    '' | '<'* | *'"status":429,'* | *'"status":503,'*) # a hub that starts again, or a proxy without one
      silent=$((silent + 1))
      [ "$silent" -le 60 ] || exit 2
      sleep "${AXLETREE_PAUSE:-5}" && continue ;;
  esac
  silent=0
  case $(printf %s "$answer" | sed -n 's/^{"state":"\([A-Za-z]*\)".*/\1/p') in
    Healthy) exit 0 ;;
    Pending | Progressing) ;; # a minute has passed: the next one
    *) printf '%s\n' "$answer" && exit 1 ;;
  esac
done
