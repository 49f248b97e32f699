# hpcdl-testbed: BASH_ENV of every job; defines `module`, unless the job's environment brought it along.
# shellcheck shell=bash source=/dev/null
declare -F module >/dev/null || . /usr/share/modules/init/bash
