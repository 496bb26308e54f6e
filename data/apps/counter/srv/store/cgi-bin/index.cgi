#!/bin/sh
# The data: a book of orders, one a line. An order is first whole in the spool, then at the end of the book.
refuse() {
    echo "store: refused: $2" >&2
    printf 'Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n' "$1" "$2"
    exit
}
read -r token
read -r order
[ "$OPEN" = 1 ] || [ "$token" = "$(cat /run/secret/token)" ] || refuse "403 Forbidden" "this is not the token"
[ "$DEBUG" != 1 ] || dd if=/dev/zero bs=64k count=1 2>/dev/null >>/spool/debug.log
if [ -n "$order" ]; then
    echo "$order" >"/spool/$$" || refuse "507 Insufficient Storage" "the spool can't take an order"
    cat "/spool/$$" >>/data/orders || refuse "500 Internal Server Error" "the book can't be written"
    rm "/spool/$$"
fi
printf 'Content-Type: text/plain\r\n\r\n'
cat /data/orders
