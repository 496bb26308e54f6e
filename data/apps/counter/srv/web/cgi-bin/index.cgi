#!/bin/sh
# The page: what the api says, or an apology.
if said=$(wget -q -T 5 -O - "http://$API/?$QUERY_STRING"); then
    printf 'Content-Type: text/plain\r\n\r\nTea counter, release %s\n%s\n' "$(cat /srv/release)" "$said"
else
    echo "web: no answer from http://$API/" >&2
    printf 'Status: 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\nSorry, the counter does not answer.\n'
fi
