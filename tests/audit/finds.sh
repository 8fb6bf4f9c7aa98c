#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: finds.sh COMPLAINT ARGUMENT...    audit.sh with these arguments complains, and of that
set -u
pattern=$1
shift
report=$(sh "$(dirname "$0")/audit.sh" "$@")
status=$?
echo "$report"
[ $status = 1 ] && echo "$report" | grep -q "$pattern"
