# Runs one throw-away PostgreSQL server for the tests of this machine's user and removes it once
# no test process is left. `postgres.rs` starts it, holding the start lock:
#
#   sh postgres_server.sh HOME USERS BIN PORT
#
# HOME is a fresh folder with the file `password`; USERS is the file every test process locks
# shared for as long as it lives, so the kernel itself keeps count, a killed process included.
# Returns 0 once the server answers, 1 with its log on stderr if it never will. What watches the
# server stays behind in the background and needs nobody: it outlives the process that started it,
# and is gone IDLE_SECONDS after the last one that used it.
set -u
umask 077
home=$1 users=$2 bin=$3 port=$4
base=$(dirname "$home")
IDLE_SECONDS=15
START_SECONDS=60
cd "$home" || exit 1

# try_lock FD, unlock FD: the flock(2) that Rust's `File::lock` takes, on a descriptor of ours.
try_lock() { change_lock "$1" -xn 'LOCK_EX|LOCK_NB'; }
unlock() { change_lock "$1" -u LOCK_UN; }
change_lock() {
    if command -v flock >/dev/null; then
        flock "$2" "$1"
    else # macOS has no flock(1), but perl
        perl -MFcntl=:flock -e 'open my $f, "<&=", shift or die; exit !flock($f, eval shift)' "$1" "$3"
    fi
}

# as_user COMMAND …: from `postgres_as_user.sh`, which stands in front of this text.
prepare_user

# is_server PID HOME: the process lives and is the server of that folder; process ids come back.
is_server() {
    { tr '\0' ' ' <"/proc/$1/cmdline" || ps -o args= -p "$1"; } 2>/dev/null |
        grep -qF -- "-D $2/data"
}

# Nothing in there is worth an orderly shutdown.
remove_server() {
    pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
    if [ -n "$pid" ] && is_server "$pid" "$1"; then
        kill -QUIT "$pid"
        waited=0
        while is_server "$pid" "$1"; do
            sleep 0.1
            waited=$((waited + 1))
            if [ "$waited" = 100 ]; then kill -KILL "$pid"; fi
        done
    fi
    rm -rf "$1"
}

# Servers whose watcher was killed: its lock is free, so nobody else would ever remove them.
remove_orphans() {
    for other in "$base"/server-*; do
        if [ "$other" = "$home" ] || [ ! -f "$other/watched" ]; then continue; fi
        exec 7<"$other/watched"
        if try_lock 7; then remove_server "$other"; fi
        exec 7<&-
    done
}

serve() {
    (as_user "$bin/initdb" -D "$home/data" -U monitoring -E UTF8 --no-locale --no-sync \
        --auth=password --pwfile="$home/password") || return 1
    # Loopback only, and no socket: its path has a length limit that temporary folders exceed.
    # An odd time zone, because a day that depends on the session's zone is a bug of ours.
    # A test that ends while a connection is being made leaves it in the middle of saying who it is, and
    # dropping its database waits for that: seconds, not the usual minute.
    (as_user "$bin/postgres" -D "$home/data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c max_connections=300 -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c wal_level=minimal -c max_wal_senders=0 -c authentication_timeout=5s \
        -c TimeZone=Asia/Kathmandu) 7>&- 8<&- 9<&- &
    server=$!
}

# Keeps the server until it dies by itself or nobody has used it for a while.
watch() {
    idle=0
    while [ "$idle" -lt "$IDLE_SECONDS" ]; do
        sleep 1
        if ! kill -0 "$server" 2>/dev/null; then return; fi
        if ! try_lock 9; then
            idle=0
            continue
        fi
        idle=$((idle + 1))
        # The last time it is kept, so that nobody comes in while the server goes.
        if [ "$idle" -lt "$IDLE_SECONDS" ]; then unlock 9; fi
    done
}

touch watched log
exec 6<log 8<watched 9<"$users"
try_lock 8 || exit 1
{
    remove_orphans
    if serve; then watch; fi
    if grep -qsxF "$home" "$base/current"; then rm -f "$base/current"; fi
    remove_server "$home"
} >>log 2>&1 6<&- &

# The server writes its state into the last line of this file.
left=$((START_SECONDS * 10))
while [ "$left" -gt 0 ] && [ -d "$home" ]; do
    if grep -qs '^ready' "$home/data/postmaster.pid"; then exit 0; fi
    left=$((left - 1))
    sleep 0.1
done
cat <&6 >&2 # Its folder may be gone already.
exit 1
