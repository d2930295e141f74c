#!/bin/sh
# Prepares a directory for a SoftHSM2 token: configuration, token directory, random PINs.
#
#     softhsm/init-token.sh DIRECTORY
#
# The token itself is initialised by `skm init`, through PKCS#11: SoftHSM2's own tool takes PINs as arguments only, where every
# user of the machine can read them. What is there already is left as it is.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY" >&2
    exit 64
fi

umask 077
here=$(dirname "$0")
mkdir -p "$1"
directory=$(cd "$1" && pwd)

case $directory in
*[\|\&\\]*)
    echo "$0: the directory's path must not contain |, & or \\: $directory" >&2
    exit 65
    ;;
esac

# A PIN of 32 hexadecimal digits (128 random bits) in a file that only its owner reads. Never an argument.
random_pin() {
    if [ ! -s "$1" ]; then
        head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$1.new"
        mv "$1.new" "$1"
    fi
    chmod 600 "$1"
}

mkdir -p "$directory/tokens"
chmod 700 "$directory" "$directory/tokens"
if [ ! -e "$directory/softhsm2.conf" ]; then
    sed "s|@TOKENS@|$directory/tokens|" "$here/softhsm2.conf.template" >"$directory/softhsm2.conf.new"
    mv "$directory/softhsm2.conf.new" "$directory/softhsm2.conf"
fi
random_pin "$directory/so-pin"
random_pin "$directory/pin"

echo "export SOFTHSM2_CONF='$directory/softhsm2.conf'"
