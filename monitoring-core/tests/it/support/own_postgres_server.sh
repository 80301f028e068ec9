# Keeps one PostgreSQL server that a single test starts and stops as it likes:
#
#   sh own_postgres_server.sh HOME BIN PORT
#
# HOME is a fresh folder with the file `password`. Commands come in on stdin, one a line, and each
# is answered with `done` or `failed`:
#
#   start       returns once the server takes connections
#   fast        asks it to end: it rolls back what is open and closes every connection
#   immediate   tells it to drop everything; the next start recovers
#   kill        SIGKILL to its main process, as an exhausted machine does
#   freeze      SIGSTOP to all its processes: it keeps its connections and answers nothing
#   thaw        the opposite
#
# At the end of stdin, which is also the end of the test however it comes, server and folder go.
set -u
umask 077
home=$1 bin=$2 port=$3
START_SECONDS=60
cd "$home" || exit 1
# A test that is killed while it waits for an answer must not take us with it.
trap '' PIPE
prepare_user

# A crash of the server must cost nothing it has confirmed, so commits are synchronous; the machine
# itself does not crash, so nothing needs to reach the disk.
start() {
    # After a SIGKILL the orphans of the old server hold its memory for a moment.
    left=$((START_SECONDS * 10))
    while [ "$left" -gt 0 ]; do
        if [ -z "$server" ] || ! kill -0 "$server" 2>/dev/null; then
            (as_user "$bin/postgres" -D "$home/data" -p "$port" \
                -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
                -c max_connections=200 -c fsync=off -c synchronous_commit=on \
                -c TimeZone=Asia/Kathmandu) >>log 2>&1 </dev/null &
            server=$!
        fi
        if tail -n 1 "$home/data/postmaster.pid" 2>/dev/null | grep -qs '^ready' &&
            [ "$(head -n 1 "$home/data/postmaster.pid")" = "$server" ]; then
            return 0
        fi
        left=$((left - 1))
        sleep 0.1
    done
    return 1
}

stop() {
    [ -n "$server" ] || return 0
    kill "-$1" "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    server=
}

# The processes of the server are its main process and that one's children.
signal_all() {
    for process in "$server" $(pgrep -P "$server"); do
        kill "-$1" "$process" 2>/dev/null
    done
}

answer() {
    if "$@"; then echo done; else echo failed; fi
}

server=
(as_user "$bin/initdb" -D "$home/data" -U monitoring -E UTF8 --no-locale --no-sync \
    --auth=password --pwfile="$home/password") >>log 2>&1 </dev/null
while read -r command; do
    case $command in
    start) answer start ;;
    fast) answer stop INT ;;
    immediate) answer stop QUIT ;;
    kill) answer stop KILL ;;
    freeze) signal_all STOP; echo done ;;
    thaw) signal_all CONT; echo done ;;
    esac
done
if [ -n "$server" ]; then signal_all CONT; fi
stop QUIT
cd / && rm -rf "$home"
