#!/bin/sh
# Makes configure and Makefile.in from configure.ac and Makefile.am.
set -eu
exec autoreconf -fi "$(dirname "$0")"
