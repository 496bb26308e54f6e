#!/bin/sh
# The application's own code.
. /lib/greeting.sh
greet
