#!/bin/sh
# Inside the root: the Shell, and each line of standard input as a command beside it, until there are no more.
# Wants HOME, XDG_RUNTIME_DIR, the addresses of the buses and SHELL_LOG; MONITOR is the size of the screen.
set -eu
mkdir -p /tmp/.X11-unix
for schemas in "$HOME"/.local/share/gnome-shell/extensions/*/schemas; do
    [ ! -d "$schemas" ] || glib-compile-schemas --strict "$schemas" >>"$SHELL_LOG" 2>&1
done
(
    gnome-shell --headless --no-x11 --unsafe-mode --virtual-monitor "${MONITOR:-1280x800}" --wayland-display wayland-0 \
        >>"$SHELL_LOG" 2>&1 </dev/null || echo "gnome-shell ended with $?" >>"$SHELL_LOG"
    kill $$
) &
export WAYLAND_DISPLAY=wayland-0
while read -r line; do
    sh -c "$line" >>"$COMMANDS_LOG" 2>&1 </dev/null &
done
