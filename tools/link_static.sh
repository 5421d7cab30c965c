#!/bin/sh
# Makes libparley.a of one object in which only parley_… is visible, so that it can meet nothing of
# the program that it is linked with.
#
#     tools/link_static.sh OUT ARCHIVE AR OBJCOPY CC...
set -eu
out=$1 archive=$2 ar=$3 objcopy=$4
shift 4
object=${out%.a}.whole.o

# -flinker-output: of objects that wait for the optimiser of the whole program, code is made here.
"$@" -r -nostdlib -o "$object" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
    -flinker-output=nolto-rel 2>/dev/null ||
    "$@" -r -nostdlib -o "$object" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive
"$objcopy" --localize-hidden "$object"
rm -f "$out"
"$ar" rcs "$out" "$object"
rm -f "$object"
