#!/bin/sh
# The rules: shows the store its token, and passes an order on.
secret=/run/secret/token
[ -s $secret ] || echo "api: there is no token in $secret" >&2
token=$(cat $secret 2>/dev/null)
if said=$(wget -q -T 4 -O - --post-data "$token
${QUERY_STRING#order=}
" "http://$STORE/"); then
    printf 'Content-Type: text/plain\r\n\r\n%s\n' "$said"
else
    echo "api: no answer from http://$STORE/" >&2
    printf 'Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nno store\n'
fi
