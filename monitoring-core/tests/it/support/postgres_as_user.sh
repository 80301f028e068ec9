# The server refuses to run as root, so root hands it to a user who owns nothing else.
# `prepare_user` gives that user the folder $home; `as_user COMMAND …` runs a command as that user.
user=
prepare_user() {
    if [ "$(id -u)" = 0 ]; then
        user=nobody
        if id postgres >/dev/null 2>&1; then user=postgres; fi
        chown -R "$user" "$home"
    fi
}
as_user() {
    if [ -z "$user" ]; then
        exec "$@"
    elif setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups true 2>/dev/null; then
        exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"
    elif command -v runuser >/dev/null; then
        exec runuser -u "$user" -- "$@"
    else
        exec su -s /bin/sh -c 'exec "$@"' -- "$user" sh "$@"
    fi
}

