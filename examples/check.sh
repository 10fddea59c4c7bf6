# What the `check` scripts of the examples share. Each of them is called with the command that runs the
# production image as its arguments.

# expect TEXT COMMAND…: the command prints exactly this.
expect() {
  want=$1
  shift
  got=$("$@")
  [ "$got" = "$want" ] || {
    printf 'wanted: %s\n   got: %s\n' "$want" "$got" >&2
    exit 1
  }
}

# serve PORT COMMAND…: starts a server, waits until it listens, and stops it when the script ends.
serve() {
  port=$1
  shift
  ! curl -s -o /dev/null "http://127.0.0.1:$port/" || {
    echo "something else listens on port $port" >&2
    exit 1
  }
  "$@" >/dev/null &
  server=$!
  # KILL, because the parent of a process namespace takes nothing less; the image's processes end with it.
  trap 'kill -KILL $server' EXIT
  for _ in $(seq 100); do
    ! curl -s -o /dev/null "http://127.0.0.1:$port/" || return 0
    kill -0 $server || exit 1
    sleep 0.1
  done
  echo "no answer on port $port within 10 seconds" >&2
  exit 1
}

# get URL [CURL OPTION…]: the body of the answer, which has to be a success.
get() { curl -fsS "$@"; }
