#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: audit.sh symbols LEVEL OBJECT     of the object of one instruction-set level
#        audit.sh instructions FILE...     of objects, archives or programs for x86-64
#
# Complains of whatever might run a level's instructions on a CPU that lacks them. Leaves with 1 if
# there are complaints, with 2 if it could not look. NM and OBJDUMP are GNU's.
set -u

listing=$(mktemp) || exit 2
trap 'rm -f "$listing"' EXIT

# Symbols that other objects see: the linker keeps one of each name, whichever object it is from,
# so the name has to have the level in it. Initialisers run before any level is chosen.
symbols() {
  "${NM:-nm}" -C --defined-only "$2" >"$listing" || exit 2
  awk -v level="$1" '
    {
      name = $0
      sub(/^[0-9a-f]* +[^ ]+ /, "", name)
    }
    $2 ~ /[A-Zuvw]/ && name !~ /^DW\.ref\.__gxx_personality_v0$/ {
      ++seen
      if (index(name, level) == 0) print "no " level " in the name of a shared symbol: " name
    }
    END { if (!seen) print "no shared symbol at all" }' "$listing"
  "${OBJDUMP:-objdump}" -h "$2" >"$listing" || exit 2
  awk '$2 ~ /^\.(init_array|ctors)/ { print "static initialiser: section " $2 }' "$listing"
}

# In 64-bit code, an instruction that begins with c4 or c5 is VEX's (AVX, BMI), one that begins with
# 62 is EVEX's (AVX-512): allowed in functions whose name says so, and in an archive only in the
# member that is compiled for that level.
instructions() {
  "${OBJDUMP:-objdump}" -d -C --insn-width=15 "$1" >"$listing" || exit 2
  awk '
    / file format / {
      member = ""
      if (match($1, /isa_[a-z0-9]+/)) member = substr($1, RSTART + 4, RLENGTH - 4)
    }
    /^In archive / { archive = 1 }
    /^[0-9a-f]+ <.*>:$/ {
      ++functions
      name = $0
      sub(/^[0-9a-f]+ </, "", name)
      sub(/>:$/, "", name)
      level = match(name, /fastconv(::|_xsimd_)avx(2|512)::/) ? substr(name, RSTART, RLENGTH) : ""
      gsub(/fastconv(::|_xsimd_)|::/, "", level)
      allowed = level != "" && (!archive || level == member)
      reported = 0
    }
    !allowed && !reported && /^ *[0-9a-f]+:\t((26|2e|36|3e|64|65|67) )*(c4|c5|62) / {
      print "AVX in " (archive ? $1 " " : "") name ":" substr($0, index($0, "\t"))
      reported = 1
    }
    END { if (!functions) print "no function at all" }' "$listing"
}

case ${1-} in
  symbols) complaints=$(symbols "$2" "$3") || exit ;;
  instructions)
    shift
    complaints=$(for file in "$@"; do instructions "$file" || exit; done) || exit
    ;;
  *) sed -n 's/^# \(Usage.*\)/\1/p' "$0" >&2 && exit 2 ;;
esac
if [ -n "$complaints" ]; then
  echo "$complaints"
  exit 1
fi
